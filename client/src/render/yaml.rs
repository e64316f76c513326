//! JSON's values as YAML in block style; every text is quoted as in JSON, which YAML reads. Pure.

use serde_json::Value;

/// A whole document.
pub(crate) fn document(value: &Value) -> String {
    match value {
        Value::Object(all) if !all.is_empty() => block(value, 0),
        Value::Array(all) if !all.is_empty() => block(value, 0),
        scalar => format!("{scalar}\n"),
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(all) => !all.is_empty(),
        Value::Array(all) => !all.is_empty(),
        _ => false,
    }
}

fn block(value: &Value, depth: usize) -> String {
    let space = "  ".repeat(depth);
    match value {
        Value::Object(all) => all
            .iter()
            .map(|(key, value)| match is_block(value) {
                true => format!("{space}{}:\n{}", self::key(key), block(value, depth + 1)),
                false => format!("{space}{}: {value}\n", self::key(key)),
            })
            .collect(),
        Value::Array(all) => all
            .iter()
            .map(|value| match is_block(value) {
                // The first line of what is inside stands beside the dash.
                true => format!("{space}- {}", block(value, depth + 1).trim_start()),
                false => format!("{space}- {value}\n"),
            })
            .collect(),
        scalar => format!("{space}{scalar}\n"),
    }
}

/// A key that cannot be taken for anything but a text stands as it is.
fn key(text: &str) -> String {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let word = matches!(text, "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null");
    if plain && !word { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_shape_is_there() {
        let value = json!({
            "name": "a: b",
            "no": null,
            "list": [1, {"x": true, "y": []}, [2]],
            "empty": {},
            "nested": {"Key 1": "it's"},
        });
        let text = "name: \"a: b\"\n\"no\": null\nlist:\n  - 1\n  - x: true\n    \"y\": []\n  - - 2\nempty: {}\nnested:\n  \"Key 1\": \"it's\"\n";
        assert_eq!(document(&value), text);
        assert_eq!(document(&json!([])), "[]\n");
    }
}
