//! Caches the shapes of segments: where the blocks of each are, so that a read fetches only the bytes it
//! needs.

use std::rc::Rc;

use crate::storage::segments::Shape;

/// The most shapes in memory. A reader usually needs the same segment for its next chunk.
pub const SHAPES_KEPT_MAX: usize = 8;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Shapes(Vec<(String, Rc<Shape>)>);

impl Shapes {
    pub(super) fn find(&self, key: &str) -> Option<&Rc<Shape>> {
        self.0.iter().find(|(kept, _)| kept == key).map(|(_, shape)| shape)
    }

    /// Adds a shape without evicting others, because one read needs all of these.
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
