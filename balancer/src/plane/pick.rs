//! Choosing: a group by its weight, a target by a group's algorithm. Randomness and turns are arguments.

/// The index that `random` falls to when each has as many chances as its weight; none if all weights are 0.
pub(super) fn by_weight(weights: impl Iterator<Item = u64> + Clone, random: u64) -> Option<usize> {
    let total: u64 = weights.clone().sum();
    let mut left = random.checked_rem(total)?;
    for (index, weight) in weights.enumerate() {
        match left.checked_sub(weight) {
            Some(rest) => left = rest,
            None => return Some(index),
        }
    }
    None
}

/// The first from `turn` on that is wanted, once around.
pub(super) fn in_turn(count: usize, turn: usize, mut wanted: impl FnMut(usize) -> bool) -> Option<usize> {
    (0..count).map(|step| turn.wrapping_add(step) % count).find(|index| wanted(*index))
}

/// The wanted one with the least load; of equals the first from `turn` on, so that equals take turns.
pub(super) fn least(
    count: usize,
    turn: usize,
    mut wanted: impl FnMut(usize) -> bool,
    load: impl Fn(usize) -> usize,
) -> Option<usize> {
    (0..count)
        .map(|step| turn.wrapping_add(step) % count)
        .filter(|index| wanted(*index))
        .min_by_key(|index| load(*index))
}

/// Where a flow goes: the wanted one with the highest hash of both. Another target's coming or going moves no flow
/// but those of that target.
pub(super) fn by_flow(
    flow: u64,
    targets: impl Iterator<Item = u64>,
    mut wanted: impl FnMut(usize) -> bool,
) -> Option<usize> {
    targets
        .enumerate()
        .filter(|(index, _)| wanted(*index))
        .max_by_key(|(_, target)| mix(flow ^ mix(*target)))
        .map(|(index, _)| index)
}

/// Spreads every bit of a number over all of it (the finaliser of SplitMix64).
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_share_the_range_of_randomness() {
        let counts = |weights: &[u64]| {
            let mut counts = vec![0; weights.len()];
            for random in 0..1000 {
                if let Some(index) = by_weight(weights.iter().copied(), random) {
                    counts[index] += 1;
                }
            }
            counts
        };
        assert_eq!(counts(&[1, 1]), [500, 500]);
        assert_eq!(counts(&[3, 0, 1]), [750, 0, 250]);
        assert_eq!(counts(&[0, 0]), [0, 0]);
        assert_eq!(counts(&[]), [0; 0]);
    }

    #[test]
    fn turns_go_around_and_skip() {
        let picks =
            |wanted: fn(usize) -> bool| -> Vec<_> { (0..4).map(|turn| in_turn(3, turn, wanted)).collect() };
        assert_eq!(picks(|_| true), [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(picks(|index| index != 1), [Some(0), Some(2), Some(2), Some(0)]);
        assert_eq!(picks(|_| false), [None; 4]);
        assert_eq!(in_turn(0, 5, |_| true), None);
    }

    #[test]
    fn the_least_loaded_is_next_and_equals_take_turns() {
        let loads = [2, 1, 1];
        let pick = |turn| least(3, turn, |_| true, |index| loads[index]);
        assert_eq!([pick(0), pick(1), pick(2)], [Some(1), Some(1), Some(2)]);
        assert_eq!(least(3, 0, |index| index == 0, |index| loads[index]), Some(0));
    }

    #[test]
    fn a_flow_stays_when_another_target_goes() {
        let targets = [11, 22, 33, 44];
        for flow in 0..1000 {
            let chosen = by_flow(flow, targets.into_iter(), |_| true).unwrap();
            let other = (chosen + 1) % targets.len();
            assert_eq!(by_flow(flow, targets.into_iter(), |index| index != other), Some(chosen));
        }
    }

    #[test]
    fn flows_are_spread_evenly() {
        let mut counts = [0; 4];
        for flow in 0..4000 {
            counts[by_flow(flow, [11, 22, 33, 44].into_iter(), |_| true).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
