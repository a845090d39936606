//! The shapes of segments: where each one's blocks are, so that a read fetches only the bytes it needs.

use std::rc::Rc;

use crate::storage::segments::Shape;

/// How many shapes of segments are kept: a reader comes back for its next chunk.
pub const SHAPES_KEPT_MAX: usize = 8;

/// The shapes of segments, by their keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Shapes(Vec<(String, Rc<Shape>)>);

impl Shapes {
    pub(super) fn find(&self, key: &str) -> Option<&Rc<Shape>> {
        self.0.iter().find(|(kept, _)| kept == key).map(|(_, shape)| shape)
    }

    /// One that was fetched for a read, which needs all of these.
    pub(super) fn add(&mut self, key: &str, shape: Rc<Shape>) {
        self.0.push((key.to_owned(), shape));
    }

    pub(super) fn keep(&mut self, key: &str, shape: &Rc<Shape>) {
        self.0.retain(|(kept, _)| kept != key);
        if self.0.len() == SHAPES_KEPT_MAX {
            self.0.remove(0);
        }
        self.0.push((key.to_owned(), Rc::clone(shape)));
    }
}
