//! Shapes that convolutions are tried on.

use super::reference::Case;

/// Small ones: every attribute, at odd sizes.
pub fn grid() -> Vec<Case> {
    let mut cases = Vec::new();
    let channels = [[1, 1], [3, 2], [2, 5], [5, 8], [7, 12], [4, 17], [6, 33]];
    for (index, channels) in channels.into_iter().enumerate() {
        let case =
            |sizes: &[usize], kernel: &[usize]| Case::new(1 + index % 3, channels, sizes, kernel);
        cases.extend([
            // One dimension.
            case(&[11], &[3]),
            case(&[19], &[4]).strides(&[3]).pads(&[2, 1]),
            case(&[13], &[3]).dilations(&[2]).pads(&[0, 3]).strides(&[2]),
            // Two.
            case(&[7, 9], &[3, 3]).pads(&[1, 1, 1, 1]),
            case(&[8, 8], &[3, 3]).pads(&[1, 1, 1, 1]).strides(&[2, 2]),
            case(&[6, 10], &[1, 1]),
            case(&[6, 10], &[1, 1]).strides(&[2, 3]),
            case(&[9, 5], &[2, 4]).pads(&[0, 1, 2, 3]).strides(&[1, 3]),
            case(&[10, 11], &[3, 2]).dilations(&[2, 3]).pads(&[2, 0, 1, 4]),
            case(&[12, 7], &[3, 3]).dilations(&[3, 2]).strides(&[3, 2]).pads(&[3, 1, 2, 2]),
            case(&[5, 6], &[5, 3]).group(3).pads(&[2, 1, 2, 1]),
            case(&[7, 4], &[2, 2]).group(2).strides(&[3, 3]),
            // The kernel is larger than the input, and some of it meets padding alone.
            case(&[2, 3], &[5, 7]).pads(&[3, 2, 1, 4]),
            case(&[1, 1], &[1, 1]).pads(&[4, 2, 1, 3]).strides(&[3, 2]),
            case(&[3, 1], &[2, 2]).pads(&[5, 6, 5, 4]).strides(&[4, 5]).dilations(&[3, 2]),
            // Three.
            case(&[4, 5, 6], &[2, 3, 3]).pads(&[1, 0, 1, 0, 1, 1]),
            case(&[5, 4, 7], &[3, 2, 1]).strides(&[2, 1, 3]).pads(&[1, 1, 0, 1, 1, 0]),
            case(&[3, 6, 4], &[2, 2, 3]).dilations(&[2, 1, 1]).strides(&[1, 2, 2]).group(2),
        ]);
    }
    // Depthwise, with one and with two filters to a channel.
    for filters in [1, 2] {
        let case = Case::new(2, [1, filters], &[9, 17], &[3, 3]).group(6);
        cases.extend([
            case.clone().pads(&[1, 1, 1, 1]),
            case.clone().pads(&[0, 2, 1, 0]).strides(&[2, 2]),
            case.pads(&[2, 3, 1, 0]).dilations(&[2, 1]).strides(&[1, 3]),
            Case::new(3, [1, filters], &[21], &[5]).group(4).strides(&[2]).pads(&[2, 2]),
        ]);
    }
    // Those that Winograd's way is taken for.
    for channels in [[16, 16], [17, 26]] {
        let case = |batch, sizes: &[usize]| Case::new(batch, channels, sizes, &[3, 3]);
        cases.extend([
            case(4, &[8, 8]).pads(&[1, 1, 1, 1]),
            case(3, &[9, 11]).pads(&[0, 2, 1, 0]),
            case(1, &[13, 29]),
            case(3, &[4, 6]).pads(&[4, 3, 5, 2]),
            case(2, &[9, 16]).pads(&[1, 1, 1, 1]).group(2),
        ]);
    }
    // Nothing is left of an axis, or there is nothing but padding.
    cases.push(Case::new(2, [3, 9], &[0, 4], &[2, 2]).pads(&[1, 1, 1, 1]));
    cases.push(Case::new(2, [3, 2], &[0, 4], &[2, 2]).pads(&[1, 1, 1, 1]));
    cases
}

/// Those whose windows, sums or steps exceed what is held at a time.
pub fn large() -> Vec<Case> {
    let same = [1, 1, 1, 1];
    vec![
        Case::new(2, [12, 24], &[9, 11], &[3, 3]).pads(&same),
        Case::new(1, [20, 9], &[13, 15], &[3, 3]).pads(&same),
        Case::new(1, [16, 3], &[20, 14], &[3, 3]).pads(&same).strides(&[2, 2]),
        Case::new(1, [5, 10], &[6, 9, 8], &[3, 3, 3]).strides(&[2, 1, 2]).pads(&[1, 1, 1, 0, 1, 2]),
        Case::new(1, [3, 2], &[9, 7, 8], &[2, 3, 3]).pads(&[1, 1, 1, 0, 1, 2]),
        Case::new(1, [2, 9], &[7, 3, 2], &[2, 3, 2]).pads(&[1, 1, 1, 0, 1, 2]),
        Case::new(1, [2, 2], &[27, 3, 5], &[2, 2, 3]).strides(&[2, 1, 2]).pads(&[1, 0, 1, 2, 1, 0]),
        Case::new(1, [2, 9], &[30, 4, 3], &[3, 2, 2]).strides(&[2, 2, 1]).pads(&[0, 1, 1, 2, 1, 0]),
        Case::new(1, [1, 1], &[30, 31], &[3, 3]).group(2).pads(&same),
        Case::new(1, [2, 9], &[900], &[5]).strides(&[2]),
        Case::new(1, [40, 16], &[14, 19], &[3, 3]).pads(&same),
        Case::new(19, [3, 8], &[6, 5], &[3, 3]),
        Case::new(19, [1, 1], &[6, 5], &[3, 3]).group(3),
    ]
}
