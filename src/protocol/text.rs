//! Splits text so that a reader of the parts sees the same text as a reader of the whole.

/// Whether text may be split after `before`; `after` is the next byte, if known. A split must not separate the
/// bytes of a character, nor a carriage return from its line feed. Only the last few bytes decide, even in
/// invalid UTF-8.
pub fn may_part(before: &[u8], after: Option<u8>) -> bool {
    let continues = after.is_none_or(|byte| byte & 0xC0 == 0x80);
    let feeds = after.is_none_or(|byte| byte == b'\n');
    !(feeds && before.ends_with(b"\r") || continues && is_unfinished(before))
}

/// Whether the last character is incomplete.
fn is_unfinished(text: &[u8]) -> bool {
    let lead = text.iter().rev().take(char::MAX_LEN_UTF8 - 1).position(|byte| *byte >= 0xC0);
    let Some(back) = lead else { return false };
    // `error_len` is `None` only for an incomplete character at the very end.
    let last = &text[text.len() - back - 1..];
    std::str::from_utf8(last).is_err_and(|error| error.error_len().is_none())
}
