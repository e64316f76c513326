//! What somebody may have meant who mistyped a name. Pure.

/// The one of the known names that is nearest to what was typed, where it is near enough to be meant.
pub(crate) fn meant<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let near = known.into_iter().map(|name| (strsim::osa_distance(&name.to_lowercase(), &typed), name));
    // A third of the word may be wrong, and one letter always.
    let limit = (typed.chars().count() / 3).max(1);
    near.filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_seen_and_another_word_is_not() {
        let known = ["staging", "dev", "production"];
        for (typed, expected) in [
            ("stagnig", Some("staging")),
            ("Dev", Some("dev")),
            ("dve", Some("dev")),
            ("prod", None),
            ("x", None),
        ] {
            assert_eq!(meant(typed, known), expected, "{typed}");
        }
    }
}
