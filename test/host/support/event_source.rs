//! Parses server-sent events as the HTML standard defines (WHATWG HTML, 9.2.6). It follows the standard, not
//! the server's code.

/// An event that an `EventSource` dispatches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    /// The event's type; `message` if it has none.
    pub(crate) name: String,
    /// The data lines, joined by `\n`.
    pub(crate) data: String,
    /// The last event id at that time.
    pub(crate) id: String,
}

/// The events of a complete response.
pub(crate) fn parse(bytes: &[u8]) -> Vec<Event> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let (mut events, mut name, mut data, mut id) = (Vec::new(), String::new(), String::new(), String::new());
    for line in lines(text) {
        if line.is_empty() {
            if let Some(whole) = data.strip_suffix('\n') {
                let name = if name.is_empty() { "message".to_owned() } else { name.clone() };
                events.push(Event { name, data: whole.to_owned(), id: id.clone() });
            }
            name.clear();
            data.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut name),
            "data" => {
                data.push_str(value);
                data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut id),
            _ => {}
        }
    }
    events
}

/// Complete lines. A line ends with `\r\n`, `\n` or `\r`.
fn lines(text: &str) -> Vec<&str> {
    let (mut lines, mut rest) = (Vec::new(), text);
    while let Some(end) = rest.find(['\r', '\n']) {
        lines.push(&rest[..end]);
        rest = rest[end..].strip_prefix("\r\n").unwrap_or(&rest[end + 1..]);
    }
    lines
}

#[test]
fn the_standards_own_examples() {
    let dispatched = |text: &str| -> Vec<(String, String)> {
        parse(text.as_bytes()).into_iter().map(|event| (event.data, event.id)).collect()
    };
    let pair = |data: &str, id: &str| (data.to_owned(), id.to_owned());
    let stock = "data: YHOO\ndata: +2\ndata: 10\n\n";
    assert_eq!(dispatched(stock), [pair("YHOO\n+2\n10", "")]);
    let blocks =
        ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
    assert_eq!(
        dispatched(blocks),
        [pair("first event", "1"), pair("second event", ""), pair(" third event", "")]
    );
    assert_eq!(dispatched("data\n\ndata\ndata\n\ndata:"), [pair("", ""), pair("\n", "")]);
    assert_eq!(dispatched("data:test\r\rdata: test\r\n\r\n"), [pair("test", ""), pair("test", "")]);
}
