//! Whether what clients saw can have happened one operation after the other: a checker for linearizability.
//!
//! The method is Wing and Gong's search with Lowe's memory of what was tried: an order of the operations is sought in
//! which none comes before one that had ended when it began, and in which each answer is what a sequential model gives.
//! The same set of operations done, leading to the same state, is never searched twice. Objects that do not touch each
//! other are checked one by one, which keeps the search small.
//!
//! An operation whose answer was lost may have taken place at any time after it began, or never.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// What one object does, told sequentially.
pub trait Model {
    type State: Clone + Ord + Debug;
    type Input: Clone + Debug;
    type Output: Clone + Debug;

    /// The object before anything happened.
    fn initial(&self) -> Self::State;

    /// The state after `input` was answered with `output`; `None` if that cannot be the answer. Without an output, the
    /// state if the operation took place, whatever the answer was.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;
}

/// One operation as its client saw it. Times are of one clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<I, O> {
    pub input: I,
    pub began: u64,
    /// When it was answered, and with what; `None` if nobody knows.
    pub ended: Option<(u64, O)>,
}

/// A history that no order of its operations explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation<I, O> {
    /// The longest explanation that was found, in order.
    pub explained: Vec<Operation<I, O>>,
    /// An operation that ended and has no place after those.
    pub unexplained: Operation<I, O>,
}

/// What happened to one object of a model.
pub type History<M> = Vec<Operation<<M as Model>::Input, <M as Model>::Output>>;

/// What is wrong with the history of one object of a model.
pub type Flaw<M> = Violation<<M as Model>::Input, <M as Model>::Output>;

/// Checks the history of one object.
///
/// # Errors
/// The violation, if the history cannot be explained.
pub fn check<M: Model>(model: &M, history: &[Operation<M::Input, M::Output>]) -> Result<(), Flaw<M>> {
    let mut search = Search::new(model, history);
    if search.run() { Ok(()) } else { Err(search.violation()) }
}

/// Checks the histories of many objects, by name.
///
/// # Errors
/// The first object whose history cannot be explained.
pub fn check_each<M: Model, K: Ord + Clone>(
    model: &M,
    histories: &BTreeMap<K, History<M>>,
) -> Result<(), (K, Flaw<M>)> {
    histories
        .iter()
        .try_for_each(|(name, history)| check(model, history).map_err(|violation| (name.clone(), violation)))
}

/// Operations that were given a place, one bit each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Placed(Vec<u64>);

impl Placed {
    fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn has(&self, number: usize) -> bool {
        self.0[number / 64] & (1 << (number % 64)) != 0
    }

    fn with(&self, number: usize) -> Self {
        let mut placed = self.clone();
        placed.0[number / 64] |= 1 << (number % 64);
        placed
    }
}

struct Search<'a, M: Model> {
    model: &'a M,
    /// In the order in which they began.
    operations: Vec<&'a Operation<M::Input, M::Output>>,
    tried: BTreeSet<(Placed, M::State)>,
    longest: Vec<usize>,
}

/// A point of the search: what has its place, and which operation to try next.
struct Point<S> {
    placed: Placed,
    state: S,
    candidates: Vec<usize>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, history: &'a [Operation<M::Input, M::Output>]) -> Self {
        let mut operations: Vec<_> = history.iter().collect();
        operations.sort_by_key(|operation| operation.began);
        Self { model, operations, tried: BTreeSet::new(), longest: Vec::new() }
    }

    fn run(&mut self) -> bool {
        let start = self.point(Placed::none(self.operations.len()), self.model.initial());
        let Some(start) = start else { return true };
        let mut order: Vec<usize> = Vec::new();
        let mut path = vec![start];
        while let Some(point) = path.last_mut() {
            let Some(number) = point.candidates.pop() else {
                path.pop();
                order.pop();
                continue;
            };
            let operation = self.operations[number];
            let output = operation.ended.as_ref().map(|(_, output)| output);
            let Some(state) = self.model.step(&point.state, &operation.input, output) else { continue };
            let placed = point.placed.with(number);
            if !self.tried.insert((placed.clone(), state.clone())) {
                continue;
            }
            order.push(number);
            if order.len() > self.longest.len() {
                self.longest.clone_from(&order);
            }
            match self.point(placed, state) {
                Some(point) => path.push(point),
                None => return true,
            }
        }
        false
    }

    /// The point with what could come next, `None` if all that ended has its place. What began after another ended that
    /// has no place yet cannot come next. Those that ended first are tried first: candidates are taken from the back.
    fn point(&self, placed: Placed, state: M::State) -> Option<Point<M::State>> {
        let open = || self.operations.iter().enumerate().filter(|(number, _)| !placed.has(*number));
        let end = |operation: &Operation<M::Input, M::Output>| {
            operation.ended.as_ref().map_or(u64::MAX, |(at, _)| *at)
        };
        let first_end = open().map(|(_, operation)| end(operation)).min()?;
        if first_end == u64::MAX {
            return None;
        }
        let mut candidates: Vec<usize> = open()
            .take_while(|(_, operation)| operation.began <= first_end)
            .map(|(number, _)| number)
            .collect();
        candidates.sort_by_key(|number| std::cmp::Reverse(end(self.operations[*number])));
        Some(Point { placed, state, candidates })
    }

    fn violation(&self) -> Violation<M::Input, M::Output> {
        let explained = self.longest.iter().map(|number| self.operations[*number].clone()).collect();
        let left = (0..self.operations.len()).filter(|number| !self.longest.contains(number));
        let ended = left.filter_map(|number| {
            let operation = self.operations[number];
            operation.ended.as_ref().map(|(at, _)| (*at, operation))
        });
        let (_, unexplained) = ended.min_by_key(|(at, _)| *at).expect("something that ended has no place");
        Violation { explained, unexplained: unexplained.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register of numbers.
    struct Register;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Call {
        Write(u32),
        Read,
    }

    impl Model for Register {
        type State = u32;
        type Input = Call;
        /// What a read gave; 0 for a write.
        type Output = u32;

        fn initial(&self) -> u32 {
            0
        }

        fn step(&self, state: &u32, input: &Call, output: Option<&u32>) -> Option<u32> {
            match input {
                Call::Write(value) => Some(*value),
                Call::Read => output.is_none_or(|read| read == state).then_some(*state),
            }
        }
    }

    fn write(value: u32, began: u64, ended: u64) -> Operation<Call, u32> {
        Operation { input: Call::Write(value), began, ended: Some((ended, 0)) }
    }

    fn lost(value: u32, began: u64) -> Operation<Call, u32> {
        Operation { input: Call::Write(value), began, ended: None }
    }

    fn read(value: u32, began: u64, ended: u64) -> Operation<Call, u32> {
        Operation { input: Call::Read, began, ended: Some((ended, value)) }
    }

    fn is_linear(history: &[Operation<Call, u32>]) -> bool {
        check(&Register, history).is_ok()
    }

    #[test]
    fn what_can_have_happened_is_accepted() {
        assert!(is_linear(&[]));
        assert!(is_linear(&[write(1, 0, 1), read(1, 2, 3)]));
        // Both values may be read while the write is under way, the old one first.
        assert!(is_linear(&[write(1, 0, 10), read(0, 1, 2), read(1, 3, 4), read(1, 11, 12)]));
        // Two writes at a time may have come in either order.
        assert!(is_linear(&[write(1, 0, 10), write(2, 0, 10), read(1, 11, 12)]));
        assert!(is_linear(&[write(1, 0, 10), write(2, 0, 10), read(2, 11, 12)]));
    }

    #[test]
    fn what_cannot_have_happened_is_found() {
        // A write that was answered is lost.
        assert!(!is_linear(&[write(1, 0, 1), read(0, 2, 3)]));
        // The old value comes back.
        assert!(!is_linear(&[write(1, 0, 10), read(1, 1, 2), read(0, 3, 4)]));
        // Two readers see two writes in different orders.
        let writes = [write(1, 0, 3), write(2, 0, 3)];
        assert!(!is_linear(&[&writes[..], &[read(1, 4, 5), read(2, 6, 7)]].concat()));
        // A value that nobody wrote.
        assert!(!is_linear(&[write(1, 0, 1), read(7, 2, 3)]));
    }

    #[test]
    fn a_lost_answer_leaves_open_whether_and_when() {
        assert!(is_linear(&[lost(1, 0), read(0, 1, 2)]));
        assert!(is_linear(&[lost(1, 0), read(0, 1, 2), read(1, 3, 4)]));
        assert!(is_linear(&[write(2, 0, 1), lost(1, 2), read(2, 3, 4), write(3, 5, 6), read(1, 7, 8)]));
        assert!(!is_linear(&[lost(1, 0), read(1, 1, 2), read(0, 3, 4)]));
        assert!(!is_linear(&[read(1, 0, 1), lost(1, 2)]), "not before it began");
    }

    #[test]
    fn a_violation_names_what_has_no_place() {
        let violation = check(&Register, &[write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)]).unwrap_err();
        assert_eq!(violation.explained, [write(1, 0, 1), write(2, 2, 3)]);
        assert_eq!(violation.unexplained, read(1, 4, 5));
    }

    #[test]
    fn long_histories_of_many_clients_are_checked() {
        let mut history = Vec::new();
        for round in 0..200_u32 {
            let at = u64::from(round) * 10;
            for client in 0..4 {
                history.push(write(round * 4 + client, at, at + 5));
            }
            history.push(read(round * 4 + round % 4, at + 6, at + 7));
        }
        assert!(is_linear(&history));
        history.push(read(0, 5000, 5001));
        assert!(!is_linear(&history));
    }

    /// Against trying every order, on small histories made at random.
    #[test]
    fn it_agrees_with_trying_every_order() {
        let mut seed: u64 = 7;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let (mut linear, mut not) = (0, 0);
        for _ in 0..3000 {
            let history: Vec<_> = (0..5)
                .map(|_| {
                    let (began, value) = (random(12), u32::try_from(random(3)).unwrap());
                    let ended = began + 1 + random(5);
                    match random(5) {
                        0 | 1 => write(value, began, ended),
                        2 => lost(value, began),
                        _ => read(value, began, ended),
                    }
                })
                .collect();
            let expected = some_order_explains(&history, &mut vec![false; history.len()], 0);
            assert_eq!(is_linear(&history), expected, "{history:?}");
            *(if expected { &mut linear } else { &mut not }) += 1;
        }
        assert!(linear > 300 && not > 300, "{linear} and {not}: both kinds are tried");
    }

    fn some_order_explains(history: &[Operation<Call, u32>], done: &mut Vec<bool>, state: u32) -> bool {
        let is_open = |number: &usize| !done[*number] && history[*number].ended.is_some();
        let open: Vec<usize> = (0..history.len()).filter(is_open).collect();
        if open.is_empty() {
            return true;
        }
        for number in 0..history.len() {
            let operation = &history[number];
            let ended_before = |other: &usize| {
                history[*other].ended.as_ref().is_some_and(|(ended, _)| *ended < operation.began)
            };
            if done[number] || open.iter().any(ended_before) {
                continue;
            }
            let output = operation.ended.as_ref().map(|(_, output)| output);
            if let Some(next) = Register.step(&state, &operation.input, output) {
                done[number] = true;
                let found = some_order_explains(history, done, next);
                done[number] = false;
                if found {
                    return true;
                }
            }
        }
        false
    }
}
