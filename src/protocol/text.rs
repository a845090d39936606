//! Text in parts: where it can be parted so that a reader of the parts sees what a reader of the whole sees.

/// Whether text may be parted after `before`, which the byte `after` follows if it is known: not inside a character, and not
/// between a carriage return and its line feed. Only the last few bytes decide, also in text that is no UTF-8.
pub fn may_part(before: &[u8], after: Option<u8>) -> bool {
    let continues = after.is_none_or(|byte| byte & 0xC0 == 0x80);
    let feeds = after.is_none_or(|byte| byte == b'\n');
    !(feeds && before.ends_with(b"\r") || continues && is_unfinished(before))
}

/// Whether the last character has not come to its end.
fn is_unfinished(text: &[u8]) -> bool {
    let lead = text.iter().rev().take(char::MAX_LEN_UTF8 - 1).position(|byte| *byte >= 0xC0);
    let Some(back) = lead else { return false };
    // `error_len` is `None` only for an unfinished character at the very end.
    let last = &text[text.len() - back - 1..];
    std::str::from_utf8(last).is_err_and(|error| error.error_len().is_none())
}
