//! The daemon's log on standard error: one event is one line, whatever others wrote into it. It must not know what is logged.

use std::io::{self, Write};

use model::text::visible_coloured;

/// A writer that takes whole events and writes each as one line with nothing hidden in it: names of principals, reasons and
/// messages of servers neither forge a line nor act on the terminal of whoever reads the log.
#[derive(Debug)]
pub struct Lines<W>(pub W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        self.0.write_all(format!("{}\n", visible_coloured(line)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_with_nothing_hidden() {
        let mut out = Vec::new();
        let event = "\u{1b}[32m INFO\u{1b}[0m by \u{202e}ecila\n2026-01-01 INFO forged\u{9b}2J\n";
        let taken = Lines(&mut out).write(event.as_bytes()).expect("written");
        assert_eq!(taken, event.len());
        let line = "\u{1b}[32m INFO\u{1b}[0m by \\u{202e}ecila\\n2026-01-01 INFO forged\\u{9b}2J\n";
        assert_eq!(String::from_utf8(out).expect("text"), line);
    }
}
