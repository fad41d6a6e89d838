//! `steps`: a list of maps with one key each, the verb.

use crate::error::{Place, Problem, Problems};
use crate::yaml::{Key, Node, Value};

/// One step: what it does, and its options, which it reads itself.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its verb.
    pub verb: Key,
    /// Its options, or the expression it takes.
    pub options: Node,
    /// The place of the whole step.
    pub at: Place,
}

/// The steps in order.
#[derive(Clone, Debug)]
pub struct Steps {
    /// The steps up to the first that could not be read.
    pub list: Vec<Step>,
    /// Whether these are all. If not, what the last one yields is not what the sink would get, and nothing may be
    /// concluded from it.
    pub complete: bool,
}

impl Steps {
    /// The steps of a file that says none.
    pub(super) fn none() -> Self {
        Self { list: Vec::new(), complete: true }
    }
}

/// Reads `steps`.
pub(super) fn read(node: &Node, problems: &mut Problems) -> Steps {
    let mut steps = Steps::none();
    let Value::List(items) = &node.value else {
        if !node.is_null() {
            let what = format!("`steps` takes a list of steps, not {}", node.kind());
            problems
                .push(Problem::error(node.at, what).help("begin each step with `- `, as in `- filter: …`"));
            steps.complete = false;
        }
        return steps;
    };
    for item in items {
        match step(item) {
            Ok(step) if steps.complete => steps.list.push(step),
            Ok(_) => {}
            Err(problem) => {
                problems.push(problem);
                steps.complete = false;
            }
        }
    }
    steps
}

fn step(item: &Node) -> Result<Step, Problem> {
    let write = |verb: &str| format!("write `- {verb}: …`");
    let Value::Map(entries) = &item.value else {
        let what = format!("a step is a map with one key, its verb, not {}", item.kind());
        let first = item.text().and_then(|text| text.split_whitespace().next());
        let verb = first.filter(|word| word.chars().all(char::is_alphanumeric)).unwrap_or("filter");
        return Err(Problem::error(item.at, what).help(write(verb)));
    };
    match entries.as_slice() {
        [] => Err(Problem::error(item.at, "a step has a verb").help(write("filter"))),
        [(verb, options)] => Ok(Step { verb: verb.clone(), options: options.clone(), at: item.at }),
        [(verb, options), (other, _), ..] if options.is_null() => Err(Problem::error(
            other.at,
            format!("`{}` stands beside `{}`, not under it", other.text, verb.text),
        )
        .help(format!("indent the options of `{}` further than the verb", verb.text))),
        [(verb, _), (other, _), ..] => Err(Problem::error(
            other.at,
            format!("a step has one verb: `{}` stands beside `{}`", other.text, verb.text),
        )
        .help(format!(
            "begin a step of its own with `- {}: …`, or indent it under `{}`",
            other.text, verb.text
        ))),
    }
}
