//! Values from the command line: `--set run.cores=4` puts `4` where `run: { cores: … }` stands, or would stand.

use super::parse::parse_part;
use super::{Key, Node, Value};
use crate::error::{Place, Problem, Problems};

/// Puts a value into the tree. `path_and_value` is the text of the document `document`: keys and list indices (from 0)
/// separated by dots, `=`, and a value in YAML. Keys that are missing are made; a path that runs through a scalar, or
/// beyond the end of a list, is a problem.
pub fn set(root: &mut Node, document: u16, path_and_value: &str, problems: &mut Problems) {
    let whole = Place { document, start: 0, end: u32::MAX }.within(0, path_and_value.len());
    let Some((path, _)) = path_and_value.split_once('=') else {
        problems
            .push(Problem::error(whole, "there is no value: `=` is missing").help("write path.to.key=value"));
        return;
    };
    let value_at = (path.len() + 1, path_and_value.len());
    let parsed_before = problems.all().len();
    let value = match parse_part(document, path_and_value, value_at, problems) {
        Some(value) => value,
        None if problems.all().len() > parsed_before => return,
        None => Node::nothing(whole.within(value_at.0, value_at.1)),
    };
    let mut node = root;
    let mut position = 0;
    for segment in path.split('.') {
        let at = whole.within(position, position + segment.len());
        position += segment.len() + 1;
        if segment.is_empty() {
            problems.push(
                Problem::error(whole.within(0, path.len()), "a key of the path is empty")
                    .help("write path.to.key=value"),
            );
            return;
        }
        match child(node, segment, at) {
            Ok(found) => node = found,
            Err(problem) => return problems.push(problem),
        }
    }
    *node = value;
}

/// The node under a key or an index, made if it is a key that is not there yet.
fn child<'a>(node: &'a mut Node, segment: &str, at: Place) -> Result<&'a mut Node, Problem> {
    if node.is_null() {
        node.value = Value::Map(Vec::new());
    }
    match &mut node.value {
        Value::Map(entries) => {
            let index = entries.iter().position(|(key, _)| key.text == segment).unwrap_or_else(|| {
                entries.push((Key { text: segment.to_owned(), at }, Node::nothing(at)));
                entries.len() - 1
            });
            Ok(&mut entries[index].1)
        }
        Value::List(items) => {
            let length = items.len();
            segment.parse().ok().and_then(|index: usize| items.get_mut(index)).ok_or_else(|| {
                Problem::error(at, format!("`{segment}` is no index of this list")).help(match length {
                    0 => "the list is empty".to_owned(),
                    _ => format!("its items are 0 to {}", length - 1),
                })
            })
        }
        Value::Scalar(scalar) => Err(Problem::error(
            at,
            format!("there is nothing below `{}`: the file has a text here", scalar.raw),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const FILE: &str =
        "source: { file: { path: a } }\nsteps:\n  - filter: a > 1\n  - limit: 5\nrun:\nnote: text\n";

    fn overridden(argument: &str) -> (Node, Problems) {
        let mut problems = Problems::new();
        let mut root = parse(0, FILE, &mut problems).expect("valid");
        set(&mut root, 3, argument, &mut problems);
        (root, problems)
    }

    fn at<'a>(node: &'a Node, path: &[&str]) -> &'a Node {
        path.iter().fold(node, |node, segment| match &node.value {
            Value::Map(entries) => &entries.iter().find(|(key, _)| key.text == *segment).expect(segment).1,
            Value::List(items) => &items[segment.parse::<usize>().expect(segment)],
            Value::Scalar(_) => panic!("a scalar before {segment}"),
        })
    }

    #[test]
    fn values_are_replaced_and_added() {
        for (argument, path, expect) in [
            ("source.file.path=b.ndjson", &["source", "file", "path"][..], "b.ndjson"),
            ("steps.0.filter=a > 2 AND b = 'x=y'", &["steps", "0", "filter"], "a > 2 AND b = 'x=y'"),
            ("run.cores=4", &["run", "cores"], "4"),
            ("run.snapshot.every=1s", &["run", "snapshot", "every"], "1s"),
            ("new.a.b=\"q\"", &["new", "a", "b"], "q"),
            ("sink={ file: { path: c } }", &["sink", "file", "path"], "c"),
        ] {
            let (root, problems) = overridden(argument);
            assert!(problems.all().is_empty(), "{argument}: {:?}", problems.all());
            let node = at(&root, path);
            assert_eq!(node.expression(), Some(expect), "{argument}");
            assert_eq!(node.at.document, 3);
            assert!(argument[node.at.start as usize..node.at.end as usize].contains(expect), "{argument}");
        }
        let (root, _) = overridden("source.file.path=");
        assert!(at(&root, &["source", "file", "path"]).is_null());
    }

    #[test]
    fn wrong_paths_and_values_are_told_in_the_argument() {
        for (argument, marked, what) in [
            ("run.cores", "run.cores", "`=` is missing"),
            ("note.a=1", "a", "nothing below `text`"),
            ("steps.2.filter=x", "2", "no index"),
            ("steps.first=x", "first", "no index"),
            ("run..cores=1", "run..cores", "empty"),
            ("=1", "", "empty"),
            ("run.cores=[1", "[", "not closed"),
        ] {
            let (_, problems) = overridden(argument);
            let [problem] = problems.all() else { panic!("{argument}: {:?}", problems.all()) };
            assert!(problem.what.contains(what), "{argument}: {}", problem.what);
            assert_eq!(&argument[problem.at.start as usize..problem.at.end as usize], marked);
            assert_eq!(problem.at.document, 3);
        }
    }
}
