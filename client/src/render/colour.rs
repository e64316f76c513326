//! Whether there are colours: as `--color` says, else as the environment says, in the ways that other programs follow. Pure.

use clap::ValueEnum;

/// `--color`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless the environment says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What the environment says: each variable as it is, none where it is not set or empty.
#[derive(Clone, Debug, Default)]
pub struct Colours {
    /// `NO_COLOR`: anything means never.
    pub no_color: Option<String>,
    /// `CLICOLOR_FORCE`: anything but 0 means always.
    pub clicolor_force: Option<String>,
    /// `FORCE_COLOR`: anything but 0 means always, 0 never.
    pub force_color: Option<String>,
    /// `CLICOLOR`: 0 means never.
    pub clicolor: Option<String>,
    /// `TERM` is `dumb`.
    pub dumb: bool,
}

impl Colours {
    /// Whether a stream has colours.
    #[must_use]
    pub fn on(&self, choice: ColorChoice, terminal: bool) -> bool {
        let zero = |said: &Option<String>| said.as_deref() == Some("0");
        let forced = |said: &Option<String>| said.is_some() && !zero(said);
        match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if self.no_color.is_some() => false,
            ColorChoice::Auto if forced(&self.clicolor_force) || forced(&self.force_color) => true,
            ColorChoice::Auto => terminal && !self.dumb && !zero(&self.clicolor) && !zero(&self.force_color),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_goes_first_then_no_color_then_force_then_the_terminal() {
        let says = |text: &str| Some(text.to_owned());
        let none = Colours::default();
        let table = [
            (none.clone(), true, true),
            (none.clone(), false, false),
            (Colours { no_color: says("1"), ..none.clone() }, true, false),
            (Colours { no_color: says("1"), force_color: says("1"), ..none.clone() }, true, false),
            (Colours { clicolor_force: says("1"), ..none.clone() }, false, true),
            (Colours { clicolor_force: says("0"), ..none.clone() }, false, false),
            (Colours { clicolor_force: says("0"), ..none.clone() }, true, true),
            (Colours { force_color: says("3"), ..none.clone() }, false, true),
            (Colours { force_color: says("0"), ..none.clone() }, true, false),
            (Colours { clicolor: says("0"), ..none.clone() }, true, false),
            (Colours { clicolor: says("1"), ..none.clone() }, false, false),
            (Colours { clicolor: says("0"), clicolor_force: says("1"), ..none.clone() }, false, true),
            (Colours { dumb: true, ..none.clone() }, true, false),
            (Colours { dumb: true, force_color: says("1"), ..none }, false, true),
        ];
        for (colours, terminal, expected) in table {
            assert_eq!(colours.on(ColorChoice::Auto, terminal), expected, "{colours:?} {terminal}");
            assert!(colours.on(ColorChoice::Always, terminal) && !colours.on(ColorChoice::Never, terminal));
        }
    }
}
