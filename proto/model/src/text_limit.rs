//! How long a text may be that somebody else wrote: what a server says, a comment, a query. Longer ones are cut, with a mark.
//!
//! It must not know what a text is about.

use std::borrow::Cow;

use serde_json::Value;

/// The longest text in an event, in bytes.
pub const LIMIT: usize = 8 * 1024;

/// The text, or its beginning with a mark that says how much there was.
#[must_use]
pub fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= LIMIT {
        return Cow::Borrowed(text);
    }
    let mark = format!("… [cut: {} bytes in all]", text.len());
    let kept = text.floor_char_boundary(LIMIT - mark.len());
    Cow::Owned(format!("{}{mark}", &text[..kept]))
}

/// JSON with every text in it cut.
///
/// # Errors
/// It is no JSON.
pub fn cut_json(json: String) -> serde_json::Result<String> {
    // Nothing in it can be longer than itself.
    if json.len() <= LIMIT {
        return Ok(json);
    }
    let mut value = serde_json::from_str(&json)?;
    cut_value(&mut value);
    serde_json::to_string(&value)
}

/// Values are as deep as the types that they are made of.
fn cut_value(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > LIMIT => *text = cut(text).into_owned(),
        Value::Array(values) => values.iter_mut().for_each(cut_value),
        Value::Object(values) => values.values_mut().for_each(cut_value),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"x".repeat(LIMIT)), "x".repeat(LIMIT));
        for letter in ["x", "é", "🦀"] {
            let long = letter.repeat(LIMIT + 1);
            let cut = cut(&long);
            assert!(cut.len() <= LIMIT && cut.len() > LIMIT - 8, "{}", cut.len());
            assert!(
                cut.starts_with(letter) && cut.ends_with(&format!("… [cut: {} bytes in all]", long.len()))
            );
        }
    }

    #[test]
    fn json_keeps_its_shape() {
        let long = "y".repeat(LIMIT + 1);
        let json = serde_json::json!({ "a": [long, 1, { "b": long }], "c": "z" }).to_string();
        let cut: Value = serde_json::from_str(&cut_json(json).expect("JSON")).expect("JSON");
        assert!(cut["a"][0].as_str().is_some_and(|text| text.ends_with("in all]")), "{cut}");
        assert!(cut["a"][2]["b"].as_str().is_some_and(|text| text.len() <= LIMIT), "{cut}");
        assert_eq!((&cut["a"][1], &cut["c"]), (&Value::from(1), &Value::from("z")));
        assert_eq!(cut_json("{}".to_owned()).expect("JSON"), "{}");
    }
}
