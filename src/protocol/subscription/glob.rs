//! Patterns of a subscription (PROTOCOL.md 6.2). A pattern matches whole paths, segment by segment: `*` matches one
//! segment, `**` matches zero or more, and any other segment matches itself.

/// The longest pattern, in bytes: as long as the longest stream path.
pub const PATTERN_MAX_BYTES: usize = crate::protocol::path::PATH_MAX_BYTES;

/// The most segments of a pattern. Matching takes at most this many steps for each segment of the path.
pub const PATTERN_MAX_SEGMENTS: usize = 64;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    segments: Vec<PatternSegment>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum PatternSegment {
    /// `*`
    One,
    /// `**`
    Any,
    Literal(String),
}

impl Pattern {
    /// Parses a pattern. Ignores slashes at its ends and empty segments. `%2A` stands for a literal asterisk.
    pub fn parse(text: &str) -> Result<Pattern, &'static str> {
        if text.len() > PATTERN_MAX_BYTES {
            return Err("it is longer than 741 bytes");
        }
        let segments = text.split('/').filter(|segment| !segment.is_empty()).map(|segment| match segment {
            "*" => PatternSegment::One,
            "**" => PatternSegment::Any,
            literal => PatternSegment::Literal(literal.replace("%2A", "*").replace("%2a", "*")),
        });
        let mut segments: Vec<PatternSegment> = segments.collect();
        // Adjacent `**` match the same paths as one.
        segments.dedup_by(|one, other| *one == PatternSegment::Any && *other == PatternSegment::Any);
        match segments.len() {
            0 => Err("it has no segment"),
            1..=PATTERN_MAX_SEGMENTS => Ok(Pattern { segments }),
            _ => Err("it has more than 64 segments"),
        }
    }

    /// Whether the pattern matches the whole path.
    pub fn matches(&self, path: &str) -> bool {
        // `reached[i]`: the first `i` segments of the pattern match the part of the path read so far.
        let count = self.segments.len();
        let mut reached = vec![false; count + 1];
        reached[0] = true;
        self.skip_any(&mut reached);
        for part in path.split('/') {
            let mut next = vec![false; count + 1];
            for (at, segment) in self.segments.iter().enumerate().filter(|(at, _)| reached[*at]) {
                match segment {
                    PatternSegment::One => next[at + 1] = true,
                    PatternSegment::Any => next[at] = true,
                    PatternSegment::Literal(literal) => next[at + 1] |= literal == part,
                }
            }
            self.skip_any(&mut next);
            reached = next;
        }
        reached[count]
    }

    /// A `**` also matches zero segments.
    fn skip_any(&self, reached: &mut [bool]) {
        for (at, segment) in self.segments.iter().enumerate() {
            if reached[at] && *segment == PatternSegment::Any {
                reached[at + 1] = true;
            }
        }
    }

    /// Whether the pattern has no wildcard and so matches a single path, [`Pattern::literal_prefix`].
    pub fn is_literal(&self) -> bool {
        self.segments.iter().all(|segment| matches!(segment, PatternSegment::Literal(_)))
    }

    /// The common prefix of all matching paths, up to the first wildcard. It ends with a slash unless the pattern has
    /// no wildcard.
    pub fn literal_prefix(&self) -> String {
        let mut prefix = String::new();
        for (at, segment) in self.segments.iter().enumerate() {
            let PatternSegment::Literal(literal) = segment else { break };
            prefix.push_str(literal);
            // A final `**` also matches the path without the slash.
            if self.segments[at + 1..].iter().all(|segment| *segment == PatternSegment::Any) {
                break;
            }
            prefix.push('/');
        }
        prefix
    }
}
