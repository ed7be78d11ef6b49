//! The model card: what a network is for, what it was made of, how good it was found to be. What nobody stated or measured, it
//! says so.
//!
//! Source: Mitchell et al., Model cards for model reporting, 2019, <https://arxiv.org/abs/1810.03993>.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Facts, History, Part, grouped, percent, tables};
use crate::data::Finding;
use crate::error::{Error, Result};
use crate::train::{Kept, RunFolder};

const CARD: &str = "model_card.md";
const ABOUT: &str = "about.toml";
const JUDGEMENT: &str = "evaluation.json";

/// What only people know of a network: `about.toml` of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct About {
    /// What it is for.
    pub purpose: Option<String>,
    /// By whom it is to be used.
    pub users: Option<String>,
    /// What it is not for.
    pub out_of_scope: Option<String>,
    /// Kinds of people, devices or places between which results may differ.
    pub factors: Option<String>,
    /// Where the pictures come from.
    pub data: Option<String>,
    /// Who labelled them, and how.
    pub labels: Option<String>,
    /// What harm could come of it, and what was done about that.
    pub ethics: Option<String>,
    /// What it is known to be bad at.
    pub limitations: Option<String>,
    /// Under which terms it may be used.
    pub licence: Option<String>,
    /// Who answers questions.
    pub contact: Option<String>,
}

impl About {
    /// Reads such a file.
    ///
    /// Errors: if it cannot be read, or says what is not known here.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        toml::from_str(&text).map_err(|e| Error::format(path, e.to_string()))
    }

    /// Keeps it with a run.
    ///
    /// Errors: if the file cannot be written.
    pub fn save(&self, folder: &RunFolder) -> Result<()> {
        let text = toml::to_string(self).map_err(|e| Error::config(format!("{ABOUT}: {e}")))?;
        folder.write(ABOUT, text.as_bytes())
    }
}

/// The last evaluation of a run's best weights on a part of its own data: `evaluation.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Judgement {
    part: String,
    evaluation: Value,
}

/// Keeps an evaluation of a run on `part` of its data, for the card.
///
/// Errors: if the file cannot be written.
pub fn keep_evaluation(folder: &RunFolder, part: &str, evaluation: &impl Serialize) -> Result<()> {
    let wrong = |e: serde_json::Error| Error::config(format!("{JUDGEMENT}: {e}"));
    let evaluation = serde_json::to_value(evaluation).map_err(wrong)?;
    let judgement = Judgement { part: part.to_owned(), evaluation };
    folder.write(JUDGEMENT, &serde_json::to_vec(&judgement).map_err(wrong)?)
}

/// Writes `model_card.md` into a run's folder.
///
/// Errors: if a file of the run is damaged, or the card cannot be written.
pub fn write_card(folder: &RunFolder) -> Result<()> {
    let about = match folder.path().join(ABOUT) {
        path if path.exists() => About::read(&path)?,
        _ => About::default(),
    };
    let path = folder.path().join(JUDGEMENT);
    let judgement = match fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).map_err(|e| Error::format(&path, e.to_string()))?),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(Error::io("read", &path, e)),
    };
    let (kept, history, facts) = (folder.read()?, History::read(folder.path())?, Facts::read(folder)?);
    let card = Card { folder, kept, history, facts, about, judgement };
    folder.write(CARD, card.text()?.as_bytes())
}

struct Card<'a> {
    folder: &'a RunFolder,
    kept: Kept,
    history: History,
    facts: Facts,
    about: About,
    judgement: Option<Judgement>,
}

/// What someone said, or that nobody did.
fn stated(text: &Option<String>) -> &str {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty()).unwrap_or("*Not stated.*")
}

fn row<T: AsRef<str>>(cells: impl IntoIterator<Item = T>) -> String {
    let cells: Vec<String> = cells.into_iter().map(|cell| cell.as_ref().replace('|', "\\|")).collect();
    format!("| {} |", cells.join(" | "))
}

fn table(header: &[&str], rows: Vec<String>) -> String {
    let rule = row(header.iter().enumerate().map(|(i, _)| if i == 0 { "---" } else { "--:" }));
    [vec![row(header), rule], rows].concat().join("\n")
}

impl Card<'_> {
    fn text(&self) -> Result<String> {
        let path = fs::canonicalize(self.folder.path()).unwrap_or_else(|_| self.folder.path().to_owned());
        let name = path.file_name().map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned());
        let about = &self.about;
        let sections = [
            ("Model", self.model()),
            (
                "Intended use",
                format!(
                    "- Purpose: {}\n- Users: {}\n- Not for: {}",
                    stated(&about.purpose),
                    stated(&about.users),
                    stated(&about.out_of_scope)
                ),
            ),
            ("Factors", format!("Between whom or what results may differ: {}", stated(&about.factors))),
            ("Data", self.data()),
            ("Results", self.results()?),
            (
                "Ethical considerations",
                format!("What harm could come of it, and what was done about that: {}", stated(&about.ethics)),
            ),
            ("Limits", self.limits()),
            ("How to repeat", self.repeat()),
        ];
        let note = format!(
            "Written by Ocellus {} from what the run recorded. Lines that are *not stated* wait for people: \
             `ocellus card RUN --about FILE.toml`.",
            env!("CARGO_PKG_VERSION")
        );
        let sections: String = sections.iter().map(|(title, text)| format!("\n## {title}\n\n{text}\n")).collect();
        Ok(format!("# Model card: {name}\n\n{note}\n{sections}"))
    }

    fn model(&self) -> String {
        let (s, [h, w, c]) = (&self.kept.settings, self.kept.model.input);
        let classes = &self.kept.classes;
        let parameters = match self.facts.parameters {
            0 => String::new(),
            n => format!(", {} trained parameters", grouped(n)),
        };
        let mut lines = vec![
            format!("- Task: {}", s.task),
            format!("- Network: {} on {h}×{w}×{c}{parameters}", s.model),
            format!("- Classes ({}): {}", classes.len(), listed(classes)),
        ];
        let from =
            s.init.as_ref().map_or("random weights".to_owned(), |path| format!("the weights of {}", path.display()));
        match (self.history.epochs.last(), self.history.best()) {
            (Some(last), Some(best)) => lines.push(format!(
                "- Trained from {from} for {} epochs in {}; kept are the weights after epoch {}",
                last.epoch,
                tables::duration(last.seconds),
                best.epoch
            )),
            _ => lines.push(format!("- Not trained by this run; it has {from}")),
        }
        if let Some(step) = self.facts.interrupted {
            lines.push(format!("- Training was interrupted after step {step}"));
        }
        lines.push(format!("- Licence: {}", stated(&self.about.licence)));
        lines.push(format!("- Contact: {}", stated(&self.about.contact)));
        lines.join("\n")
    }

    fn data(&self) -> String {
        let mut lines = vec![
            format!("- Where pictures come from: {}", stated(&self.about.data)),
            format!("- Who labelled them, and how: {}", stated(&self.about.labels)),
        ];
        let s = &self.kept.settings;
        if self.facts.data.is_empty() {
            lines.push("- What the network was trained on is not recorded in this run.".to_owned());
            return lines.join("\n");
        }
        let from = s.data.as_ref().map_or("the bundled sample set".to_owned(), |path| path.display().to_string());
        lines.push(format!("- Read from {from}"));
        lines.push(format!("- Validation images: {}", self.validation()));
        lines.push(format!("- Groups, such as patients: {}", self.groups()));
        lines.push(format!(
            "- Values of more than 8 bits: window {}; normalized by {}",
            s.window,
            normalized(&self.kept)
        ));
        format!("{}\n\n{}", lines.join("\n"), self.counts())
    }

    /// A row for each class that was counted; of other tasks than classification these are no numbers of images.
    fn counts(&self) -> String {
        let parts: Vec<&Part> = self.facts.data.iter().collect();
        let line = |name: &str, number: &dyn Fn(&Part) -> String| {
            row([name.to_owned()].into_iter().chain(parts.iter().map(|part| number(part))))
        };
        let counted = parts.iter().all(|part| part.counts.len() == self.kept.classes.len());
        let classes = self.kept.classes.iter().enumerate().filter(|_| counted);
        let mut rows: Vec<String> = classes.map(|(i, class)| line(class, &|part| part.counts[i].to_string())).collect();
        if counted && self.kept.settings.task == "classify" {
            rows.push(line("all", &|part| part.counts.iter().sum::<usize>().to_string()));
        }
        rows.push(line("unreadable, left out", &|part| part.skipped.len().to_string()));
        let header: Vec<&str> = std::iter::once("class").chain(parts.iter().map(|part| part.name.as_str())).collect();
        table(&header, rows)
    }

    fn validation(&self) -> String {
        let s = &self.kept.settings;
        match (&s.val, self.facts.data.iter().any(|part| part.name == "validation")) {
            (Some(path), _) => format!("from {}", path.display()),
            (None, false) => "none".to_owned(),
            (None, true) => format!(
                "the data's own, else {} of each class's training images, drawn by seed {}",
                percent(s.val_fraction),
                s.seed
            ),
        }
    }

    fn groups(&self) -> String {
        let parts: Vec<String> =
            self.facts.data.iter().filter_map(|part| Some(format!("{} in {}", part.groups?, part.name))).collect();
        if parts.is_empty() {
            return "not known: whether pictures of one stand in several parts cannot be told".to_owned();
        }
        let by = self.kept.settings.group_by.as_ref();
        let by = by.map_or("by the data's own column".to_owned(), |by| format!("by paths that match `{by}`"));
        format!("{}, told {by}; a split at random divides none", parts.join(", "))
    }

    fn results(&self) -> Result<String> {
        let Some(Judgement { part, evaluation }) = &self.judgement else {
            return Ok("*Not measured.* `ocellus evaluate RUN` measures.".to_owned());
        };
        let number = |value: &Value| value.as_f64().map(|x| format!("{x:.4}"));
        let empty = Map::new();
        let object = |name: &str| evaluation.get(name).and_then(Value::as_object).unwrap_or(&empty);
        let interval = |value: Option<&Value>| {
            let ends: Vec<f64> =
                value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_f64).collect();
            if let [least, most] = ends[..] { format!("{least:.4} to {most:.4}") } else { String::new() }
        };
        let intervals = object("intervals");
        let samples = evaluation.get("samples").and_then(Value::as_u64);
        let mut text = match samples {
            Some(n) => format!("Measured once training had ended, on the {n} {part} images"),
            None => format!("Measured once training had ended, on the {part} images"),
        };
        let drawn = match intervals.get("groups").and_then(Value::as_u64) {
            Some(n) => format!("whole groups, of which there are {n}"),
            None => "images".to_owned(),
        };
        text += &match intervals.is_empty() {
            true => ", without confidence intervals.".to_owned(),
            false => format!("; intervals are percentiles of a bootstrap over {drawn}."),
        };
        let loss = evaluation.get("loss").map(|loss| ("loss".to_owned(), loss));
        let metrics =
            loss.into_iter().chain(object("metrics").iter().map(|(name, value)| (name.replace('_', " "), value)));
        let line = |(name, value): (String, &Value)| {
            Some(row([name.clone(), number(value)?, interval(intervals.get(&name.replace(' ', "_")))]))
        };
        text += "\n\n";
        text += &table(&["metric", "value", "95 % interval"], metrics.filter_map(line).collect());
        let trade_off = |t: &Value| {
            let (held, at_least) = (t.get("held")?.as_str()?, t.get("at_least")?.as_f64()?);
            let rest = if held == "sensitivity" { "specificity" } else { "sensitivity" };
            let level = format!("{rest} at {:.0} % {held}", 100.0 * at_least);
            let threshold =
                t.get("threshold").and_then(Value::as_f64).map_or("never".to_owned(), |p| format!("{p:.4}"));
            Some(row([
                t.get("class")?.as_str()?.to_owned(),
                level,
                number(t.get(rest)?)?,
                interval(t.get("interval")),
                threshold,
            ]))
        };
        let trade_offs = evaluation.get("trade_offs").and_then(Value::as_array).into_iter().flatten();
        let rows: Vec<String> = trade_offs.filter_map(trade_off).collect();
        if !rows.is_empty() {
            text += "\n\n";
            text += &table(&["class", "what is left", "value", "95 % interval", "from probability"], rows);
        }
        let of_class = |(class, values): (&String, &Value)| {
            let value = |name: &str| values.get(name).and_then(number);
            let support = values.get("support")?.as_u64()?.to_string();
            Some(row([class.clone(), value("precision")?, value("recall")?, value("f1")?, support]))
        };
        let rows: Vec<String> = object("per_class").iter().filter_map(of_class).collect();
        if !rows.is_empty() {
            text += "\n\n";
            text += &table(&["class", "precision", "recall", "F1", "images"], rows);
        }
        if let Some(calibration) = self.calibration()? {
            text += &format!("\n\n{calibration}");
        }
        Ok(text)
    }

    fn calibration(&self) -> Result<Option<String>> {
        let path = self.folder.path().join("calibration.toml");
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|e| Error::io("read", &path, e))?,
        };
        let table: toml::Table = toml::from_str(&text).map_err(|e| Error::format(&path, e.to_string()))?;
        let (temperature, images) = (table.get("temperature"), table.get("images"));
        let Some((temperature, images)) = temperature.and_then(toml::Value::as_float).zip(images) else {
            return Ok(None);
        };
        Ok(Some(format!(
            "Probabilities are calibrated by a temperature of {temperature:.3}, fitted to {images} validation images."
        )))
    }

    fn limits(&self) -> String {
        let mut lines = vec![format!("- Stated: {}", stated(&self.about.limitations))];
        lines.extend(self.facts.findings.iter().map(|Finding { title, .. }| format!("- Found in the data: {title}")));
        if let Some(judgement) = &self.judgement {
            lines.push(format!(
                "- How good it is was measured on the {} images above and on no others: on pictures of other devices, places \
                 or people it may be worse.",
                judgement.part
            ));
        }
        lines.join("\n")
    }

    fn repeat(&self) -> String {
        let s = &self.kept.settings;
        if self.history.epochs.is_empty() {
            return "This run trained nothing.".to_owned();
        }
        let device = if self.facts.device.is_empty() { "a device that was not recorded" } else { &self.facts.device };
        format!(
            "`ocellus train --config RUN/config.toml` with Ocellus {} on {device} gives the same bits; seed {}. All settings are \
             in `config.toml`, the network in `model.toml`, kernels chosen on a GPU in `kernels.toml`.",
            env!("CARGO_PKG_VERSION"),
            s.seed
        )
    }
}

fn listed(classes: &[String]) -> String {
    const MOST: usize = 30;
    let more = if classes.len() > MOST { ", …" } else { "" };
    classes.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ") + more
}

fn normalized(kept: &Kept) -> String {
    let numbers = |values: &[f32]| values.iter().map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(" ");
    format!("mean {}, standard deviation {}", numbers(&kept.normalization.mean), numbers(&kept.normalization.std))
}
