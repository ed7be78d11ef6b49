use super::Evaluation;

/// Where the score is from, from which on things are told.
pub(super) fn chosen(calibrated: bool) -> &'static str {
    if calibrated { "chosen on validation pictures" } else { "the best for these" }
}

/// Results as a table for people.
pub(super) fn lines(evaluation: &Evaluation) -> Vec<String> {
    let m = &evaluation.metrics;
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    let mut lines = vec![
        format!("samples    {}", evaluation.samples),
        format!("loss       {:.4}", evaluation.loss),
        format!("mAP@0.5    {}", percent(m.map50)),
        format!("mAP        {} (mean over overlaps of 0.5 to 0.95), at 0.75 {}", percent(m.map), percent(m.map75)),
        format!(
            "at score {:.2} and above, {}: precision {}, recall {}",
            m.threshold,
            chosen(m.calibrated),
            percent(m.precision_at_threshold),
            percent(m.recall_at_threshold)
        ),
    ];
    let width = evaluation.per_class.keys().map(|k| k.chars().count()).max().unwrap_or(5).max(5);
    lines.push(format!("\n{:<width$}  {:>9}  {:>9}  {:>9}  {:>7}", "class", "AP@0.5", "AP", "recall", "boxes"));
    for (name, class) in &evaluation.per_class {
        let [half, all, recall] = [class.ap50, class.ap, class.recall50].map(percent);
        lines.push(format!("{name:<width$}  {half:>9}  {all:>9}  {recall:>9}  {:>7}", class.support));
    }
    lines
}
