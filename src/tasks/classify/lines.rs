use super::Evaluation;

/// Results as a table for people.
pub(super) fn lines(evaluation: &Evaluation) -> Vec<String> {
    let mut lines = Vec::new();
    let m = &evaluation.metrics;
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    lines.push(format!("samples    {}", evaluation.samples));
    lines.push(format!("loss       {:.4}", evaluation.loss));
    let between = |interval: Option<[f64; 2]>| {
        interval
            .map_or(String::new(), |[least, most]| format!("   95 % interval {} to {}", percent(least), percent(most)))
    };
    let intervals = evaluation.intervals.as_ref();
    lines.push(format!("accuracy   {}{}", percent(m.accuracy), between(intervals.and_then(|i| i.accuracy))));
    if let Some(area) = m.roc_auc {
        lines.push(format!("ROC-AUC    {}{}", percent(area), between(intervals.and_then(|i| i.roc_auc))));
    }
    if evaluation.per_class.len() > 5 {
        lines.push(format!("top-5      {}", percent(m.top5_accuracy)));
    }
    lines.push(format!(
        "precision  {}   recall {}   F1 {} (means over classes)",
        percent(m.precision),
        percent(m.recall),
        percent(m.f1)
    ));
    lines.push(format!(
        "Matthews   {:.3}   kappa {:.3}   calibration error {}   Brier score {:.4}",
        m.matthews,
        m.kappa,
        percent(m.calibration_error),
        m.brier_score
    ));
    let width = evaluation.per_class.keys().map(|k| k.chars().count()).max().unwrap_or(5).max(5);
    lines.push(format!("\n{:<width$}  {:>9}  {:>9}  {:>9}  {:>7}", "class", "precision", "recall", "F1", "samples"));
    for (name, class) in &evaluation.per_class {
        let (p, r, f) = (percent(class.precision), percent(class.recall), percent(class.f1));
        lines.push(format!("{name:<width$}  {p:>9}  {r:>9}  {f:>9}  {:>7}", class.support));
    }
    if !evaluation.operating_points.is_empty() {
        lines.push(format!("\n{:<9}  {:>11}  {:>11}", "threshold", "sensitivity", "specificity"));
    }
    for point in &evaluation.operating_points {
        let (found, spared) = (percent(point.sensitivity), percent(point.specificity));
        lines.push(format!("{:<9.1}  {found:>11}  {spared:>11}", point.threshold));
    }
    if evaluation.per_class.len() == 2 && !evaluation.trade_offs.is_empty() {
        lines.push(String::new());
    }
    for trade_off in evaluation.trade_offs.iter().filter(|_| evaluation.per_class.len() == 2) {
        let ((rest, share), held) = (trade_off.rest(), trade_off.held_name());
        let level = format!("{:.0} %", 100.0 * trade_off.at_least);
        let interval = between(trade_off.interval);
        lines.push(format!("{rest} {:>8} at {level} {held}{interval}", percent(share)));
    }
    lines
}
