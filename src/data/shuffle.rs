//! Samples in an order of chance, which a seed decides.

/// Fisher and Yates's shuffle on SplitMix64: the same on every machine.
pub fn shuffle(rows: &mut [usize], seed: u64) {
    let mut state = seed;
    for last in (1..rows.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let word = word ^ (word >> 31);
        let other = ((u128::from(word) * (last as u128 + 1)) >> 64) as usize;
        rows.swap(last, other);
    }
}
