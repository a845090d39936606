//! Plays seeded histories on all processors. A failed history is played again with a trace of its steps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, fmt, thread};

/// The most failed histories before no other is played.
const FAILED_MAX: usize = 8;
/// The most steps of a failed history that are shown.
const SHOWN_MAX: usize = 120;

/// The simulation of one seed. The same seed gives the same history.
pub(crate) trait History {
    fn new(seed: u64) -> Self;
    fn run(&mut self);
    fn trace(&mut self) -> &mut Trace;
}

/// The steps of a history. They are recorded on demand, because texts take most of the time.
#[derive(Default)]
pub(crate) struct Trace(Option<Vec<String>>);

impl Trace {
    pub(crate) fn log(&mut self, step: fmt::Arguments<'_>) {
        if let Some(steps) = &mut self.0 {
            steps.push(step.to_string());
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    fn take(&mut self) -> Vec<String> {
        self.0.take().unwrap_or_default()
    }
}

/// Plays the histories of all seeds, or of the one in `SEED`.
pub(crate) fn play<H: History>(seeds_default: u64) {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(seeds_default),
    };
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    let play_next = || {
        while let seed = next.fetch_add(1, Ordering::Relaxed)
            && seed < seeds.end
        {
            if catch_unwind(|| H::new(seed).run()).is_err() {
                let steps = traced::<H>(seed);
                let last = &steps[steps.len().saturating_sub(SHOWN_MAX)..];
                eprintln!(
                    "seed {seed} failed; replay it with SEED={seed}. Its last steps:\n{}",
                    last.join("\n")
                );
                let mut failed = failed.lock().expect("no panic while it is locked");
                failed.push(seed);
                if failed.len() == FAILED_MAX {
                    next.store(seeds.end, Ordering::Relaxed);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(play_next);
        }
    });
    let failed = failed.into_inner().expect("no panic while it is locked");
    assert!(failed.is_empty(), "failed seeds: {failed:?}");
}

/// Asserts that the same seed gives the same history, regardless of what else runs.
pub(crate) fn assert_repeats<H: History>() {
    for seed in [1, 2, 3] {
        let steps = traced::<H>(seed);
        assert!(steps.len() > 10);
        assert_eq!(steps, traced::<H>(seed));
    }
}

/// The steps of a history, up to its failure if it fails.
fn traced<H: History>(seed: u64) -> Vec<String> {
    let mut history = H::new(seed);
    *history.trace() = Trace(Some(Vec::new()));
    let _failed = catch_unwind(AssertUnwindSafe(|| history.run()));
    history.trace().take()
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("SEED and SEEDS must be numbers"))
}
