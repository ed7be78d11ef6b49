use std::path::{Path, PathBuf};

use clap::Args;

use super::{Common, catch_interrupts, interrupted, json, print, progress};
use crate::data::{Audit, Finding, GroupBy, Window, audit, open};
use crate::error::{Error, Result};

/// Fails if a finding is serious: a picture that cannot be read, or copies in more than one part or class, groups in more than one part.
#[derive(Args)]
pub(super) struct Check {
    /// What `train` takes: a folder of class folders, a CSV, IDX or CIFAR files.
    data: PathBuf,
    /// Tell groups, patients for instance, that stand in more than one part: a regular expression of paths below DATA, whose
    /// first part in brackets is the group. A CSV's column `patient` or `group` says so too.
    #[arg(long, value_name = "REGEX")]
    group_by: Option<GroupBy>,
    /// Most lines for each finding; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 10)]
    most: usize,
}

impl Check {
    pub fn run(&self, common: &Common) -> Result<()> {
        let audit = look(&self.data, self.group_by.as_ref(), common)?;
        if common.json {
            print(json(&audit)?)?;
        } else {
            let pictures: usize = audit.parts.iter().flat_map(|part| &part.counts).sum();
            print(format!("{}: {pictures} images, {} classes", self.data.display(), audit.classes.len()))?;
            audit.findings.iter().try_for_each(|finding| self.print(finding))?;
        }
        let serious = audit.findings.iter().filter(|f| f.serious).count();
        match (serious, audit.findings.len()) {
            (0, 0) if !common.json => print("nothing to complain of"),
            (0, _) => Ok(()),
            (n, _) => {
                Err(Error::format(&self.data, format!("{n} serious {}", if n == 1 { "finding" } else { "findings" })))
            }
        }
    }

    fn print(&self, finding: &Finding) -> Result<()> {
        print(format!("\n{}  {}", if finding.serious { "error  " } else { "warning" }, finding.title))?;
        let shown = if self.most == 0 { finding.items.len() } else { self.most };
        finding.items.iter().take(shown).try_for_each(|item| print(format!("         {item}")))?;
        match finding.items.len().saturating_sub(shown) {
            0 => Ok(()),
            more => print(format!("         and {more} more")),
        }
    }
}

/// Looks at all of a data set, with a bar.
pub(super) fn look(data: &Path, group_by: Option<&GroupBy>, common: &Common) -> Result<Audit> {
    catch_interrupts()?;
    let mut splits = open(data)?;
    splits.prepare(Window::default(), group_by)?;
    let total = splits.train.len() + splits.val.len() + splits.test.len();
    let bar = progress::bar(common, total as u64, "looking");
    let found = audit(&splits, &|| {
        bar.inc(1);
        if interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    });
    bar.finish_and_clear();
    found
}
