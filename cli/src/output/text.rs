//! Small readers of ECS's JSON for tables and pages: a member by path as text, an ARN by its last part. A
//! member that is absent reads as empty text; what to show then is the table's matter.

use serde_json::Value;

use super::time;

/// The member at `path` (names joined by dots), as text; empty when it is absent.
pub(crate) fn text(value: &Value, path: &str) -> String {
    match find(value, path) {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        number_or_list => number_or_list.to_string(),
    }
}

/// The member at `path` as a number; 0 when it is absent.
pub(crate) fn number(value: &Value, path: &str) -> i64 {
    find(value, path).as_i64().unwrap_or_default()
}

/// The members of the list at `path`; empty when it is absent.
pub(crate) fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    find(value, path).as_array().map_or(&[], Vec::as_slice)
}

/// The last part of the ARN at `path`: a task's id, a service's name, a task definition's `family:revision`.
pub(crate) fn short(value: &Value, path: &str) -> String {
    last_part(&text(value, path)).to_owned()
}

/// The last part of an ARN; a plain name is its own last part.
pub(crate) fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// How long ago the time at `path` was; empty when it is absent.
pub(crate) fn age(value: &Value, path: &str) -> String {
    find(value, path).as_f64().map_or_else(String::new, |seconds| time::age(seconds, time::now()))
}

/// The time at `path`, ISO 8601; empty when it is absent.
pub(crate) fn iso(value: &Value, path: &str) -> String {
    find(value, path).as_f64().and_then(time::iso).unwrap_or_default()
}

fn find<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| &value[name])
}

/// A page of `label: value` lines, labels padded to one width; lines without a value are left out.
#[derive(Debug, Default)]
pub(crate) struct Page {
    lines: Vec<(String, String)>,
    sections: String,
}

impl Page {
    /// Adds a line to the head of the page, unless `value` is empty.
    pub(crate) fn line(mut self, label: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.lines.push((label.to_owned(), value));
        }
        self
    }

    /// Adds a titled block below the head, unless `body` is empty.
    pub(crate) fn section(mut self, title: &str, body: &str) -> Self {
        if !body.is_empty() {
            self.sections.push('\n');
            self.sections.push_str(title);
            self.sections.push_str(":\n");
            for line in body.lines() {
                self.sections.push_str("  ");
                self.sections.push_str(line);
                self.sections.push('\n');
            }
        }
        self
    }

    /// The page as text.
    pub(crate) fn render(&self) -> String {
        let width = self.lines.iter().map(|(label, _)| label.len()).max().unwrap_or_default() + 1;
        let head =
            self.lines.iter().map(|(label, value)| format!("{:width$}   {value}\n", format!("{label}:")));
        head.chain([self.sections.clone()]).collect()
    }
}

/// Tags as `key=value, key=value`.
pub(crate) fn tags(value: &Value) -> String {
    pairs(list(value, "tags"), "key", "value")
}

/// A list of objects as `name=value, name=value`; a missing value leaves the name alone.
pub(crate) fn pairs(items: &[Value], name: &str, value: &str) -> String {
    let shown = items.iter().map(|item| match text(item, value) {
        empty if empty.is_empty() => text(item, name),
        given => format!("{}={given}", text(item, name)),
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_as_text() {
        fn check(path: &str, expected: &str) {
            let value =
                json!({"name": "web", "count": 3, "on": true, "in": {"arn": "arn:aws:ecs:r:a:task/c/0ab"}});
            assert_eq!(text(&value, path), expected, "{path}");
        }
        check("name", "web");
        check("count", "3");
        check("on", "yes");
        check("in.arn", "arn:aws:ecs:r:a:task/c/0ab");
        check("absent", "");
        check("absent.deep", "");
    }

    #[test]
    fn arns_are_shortened() {
        fn check(arn: &str, expected: &str) {
            assert_eq!(last_part(arn), expected);
        }
        check("arn:aws:ecs:us-east-1:123456789012:task-definition/web:3", "web:3");
        check("arn:aws:ecs:us-east-1:123456789012:service/default/web", "web");
        check("web", "web");
    }

    #[test]
    fn pages_align_and_skip_the_absent() {
        let page = Page::default()
            .line("Name", "web")
            .line("Status", "")
            .line("Task definition", "web:3")
            .section("Tags", "a=b")
            .section("Events", "");
        assert_eq!(page.render(), "Name:              web\nTask definition:   web:3\n\nTags:\n  a=b\n");
    }

    #[test]
    fn lists_of_pairs() {
        let value = json!({"tags": [{"key": "team", "value": "web"}, {"key": "bare", "value": ""}]});
        assert_eq!(tags(&value), "team=web, bare");
    }
}
