//! The options of a sink that takes rows which may be taken back: `changelog` and `upsert_by`.

use crate::error::{Place, Problem, Problems};
use crate::yaml::{Fields, Spanned};

/// How a sink writes rows that may be taken back.
#[derive(Clone, Debug)]
pub struct Changes {
    /// In which form.
    pub form: ChangeForm,
    /// Where the file says so.
    pub at: Place,
    /// The columns of the key, where the file names them.
    pub upsert_by: Option<Vec<Spanned<String>>>,
}

/// The forms of a changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeForm {
    /// Every change, with the row before or after it.
    Debezium,
    /// The newest row of each key.
    Upsert,
    /// Only the rows that are there when the input is complete.
    Final,
}

/// Reads the options; none where there is no `changelog`.
pub(super) fn read(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Changes> {
    let forms =
        [("debezium", ChangeForm::Debezium), ("upsert", ChangeForm::Upsert), ("final", ChangeForm::Final)];
    let at = fields.take("changelog").map(|node| node.at);
    let form = fields.one_of("changelog", &forms, problems);
    let by_at = fields.entry("upsert_by").map(|(key, _)| key.at);
    let upsert_by = fields.text_or_list("upsert_by", problems).map(|names| {
        let owned = |name: Spanned<&str>| Spanned { value: name.value.to_owned(), at: name.at };
        names.into_iter().map(owned).collect::<Vec<_>>()
    });
    if let Some(by_at) = by_at
        && (at.is_none() || form.is_some_and(|form| form != ChangeForm::Upsert))
    {
        problems.push(
            Problem::error(by_at, "`upsert_by` is the key of `changelog: upsert`")
                .help("add changelog: upsert, or remove `upsert_by`"),
        );
    }
    if let (Some([]), Some(by_at)) = (upsert_by.as_deref(), by_at) {
        problems.push(
            Problem::error(by_at, "`upsert_by` names no column")
                .help("name the columns that tell the rows apart, or remove it"),
        );
        return None;
    }
    Some(Changes { form: form?, at: at?, upsert_by })
}
