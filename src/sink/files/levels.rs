//! How `partition_by` is written: one expression, whose value is the name of a folder, or a map of names to expressions,
//! with a folder `name=value` for each, the later ones inside the earlier ones, as readers of partitioned tables know them.

use super::partition;
use crate::error::{Place, Problem, Problems};
use crate::record::Schema;
use crate::yaml::{Fields, Key, Node};

/// How deep folders may lie in one another.
pub(super) const LEVELS_MAX: usize = 8;

/// How long a level's name may be, bytes: with `=` and its value it stays below the 255 that file systems take.
const NAME_BYTES_MAX: usize = 50;

/// The option `partition_by`.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    /// Where the option stands.
    pub at: Place,
    /// At least one, from the outermost folder inwards.
    pub levels: Vec<Level>,
}

/// One folder on the way to a file.
#[derive(Clone, Debug)]
pub(super) struct Level {
    /// What stands before the `=` of its name; none where its name is the value alone.
    pub name: Option<String>,
    /// What its value is.
    pub expression: Node,
}

impl Levels {
    /// Reads the option from `fields`; none where it is not there, or is wrong, which is reported.
    pub(super) fn read(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Self> {
        let (key, node) = fields.entry("partition_by")?;
        let levels = match node.map() {
            Some(entries) => named(key, node, entries, problems)?,
            None => {
                let expression = fields.expression("partition_by", problems)?.clone();
                vec![Level { name: None, expression }]
            }
        };
        Some(Self { at: key.at, levels })
    }

    /// Reports what is wrong with the expressions over rows of a schema.
    pub(super) fn check(&self, rows: &Schema, problems: &mut Problems) {
        for level in &self.levels {
            partition::check(&level.expression, rows, problems);
        }
    }

    /// The folders as a pattern, for instance `dt=day/hm=minute`.
    pub(super) fn describe(&self) -> String {
        let one = |level: &Level| {
            let expression = level.expression.expression().unwrap_or_default().trim();
            match &level.name {
                Some(name) => format!("{name}={expression}"),
                None => expression.to_owned(),
            }
        };
        self.levels.iter().map(one).collect::<Vec<_>>().join("/")
    }
}

/// The levels of a map.
fn named(key: &Key, node: &Node, entries: &[(Key, Node)], problems: &mut Problems) -> Option<Vec<Level>> {
    const EXAMPLE: &str =
        "write for instance partition_by: { day: \"DATE_FORMAT(at, 'yyyy-MM-dd')\", region: region }";
    if entries.is_empty() {
        problems.push(Problem::error(key.at, "`partition_by` names no folder").help(EXAMPLE));
        return None;
    }
    if let Some((beyond, _)) = entries.get(LEVELS_MAX) {
        problems
            .error(beyond.at, format!("`partition_by` takes at most {LEVELS_MAX} folders in one another"));
        return None;
    }
    let mut fields = Fields::under(key, node, "partition_by", problems);
    let mut levels = Vec::with_capacity(entries.len());
    for (name, _) in entries {
        let is_good = check_name(name, problems);
        if let Some(expression) = fields.expression(&name.text, problems).filter(|_| is_good) {
            levels.push(Level { name: Some(name.text.clone()), expression: expression.clone() });
        }
    }
    (levels.len() == entries.len()).then_some(levels)
}

/// Whether a name can begin that of a folder; reports why not.
fn check_name(name: &Key, problems: &mut Problems) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    if name.text.is_empty() {
        problems.error(name.at, "a name in `partition_by` begins those of folders, and this one is empty");
        false
    } else if name.text.len() > NAME_BYTES_MAX {
        let what = format!("a name in `partition_by` takes at most {NAME_BYTES_MAX} bytes");
        problems.error(name.at, what);
        false
    } else if !name.text.chars().all(is_plain) {
        let what = format!("`{}` begins the names of folders, and cannot", name.text.escape_debug());
        problems.push(Problem::error(name.at, what).help("use letters, digits, `-` and `_`"));
        false
    } else {
        true
    }
}
