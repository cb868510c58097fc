//! Lanes as a register of AVX2, with FMA.

use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_castpd_ps, _mm256_castps_pd, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_mul_ps, _mm256_permute2f128_ps, _mm256_permute4x64_pd, _mm256_set1_ps,
    _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_sub_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

use super::{LANES, Vector};

// Every block below is `unsafe` for the instructions alone, and `Level::run` is the only way to an
// `Avx2`: it compiles the work for them, and is reached only where the processor has them.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256);

impl Vector for Avx2 {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: the instructions exist, see above.
        Avx2(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise, and the instructions exist, see above.
        Avx2(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise, and the instructions exist, see above.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: the instructions exist, see above.
        Avx2(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: the instructions exist, see above.
        Avx2(unsafe { _mm256_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: the instructions exist, see above.
        Avx2(unsafe { _mm256_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the instructions exist, see above.
        Avx2(unsafe { _mm256_fmadd_ps(self.0, factor.0, addend.0) })
    }

    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        let [a, b, c, d, e, f, g, h] = rows;
        let above = transpose_half(a, b, c, d);
        let below = transpose_half(e, f, g, h);
        // SAFETY: the instructions exist, see above.
        unsafe {
            [
                Avx2(_mm256_permute2f128_ps::<0x20>(above[0], below[0])),
                Avx2(_mm256_permute2f128_ps::<0x20>(above[1], below[1])),
                Avx2(_mm256_permute2f128_ps::<0x20>(above[2], below[2])),
                Avx2(_mm256_permute2f128_ps::<0x20>(above[3], below[3])),
                Avx2(_mm256_permute2f128_ps::<0x31>(above[0], below[0])),
                Avx2(_mm256_permute2f128_ps::<0x31>(above[1], below[1])),
                Avx2(_mm256_permute2f128_ps::<0x31>(above[2], below[2])),
                Avx2(_mm256_permute2f128_ps::<0x31>(above[3], below[3])),
            ]
        }
    }

    #[inline(always)]
    fn deinterleave(self, next: Self) -> (Self, Self) {
        // SAFETY: the instructions exist, see above.
        unsafe {
            // Within each half, then the halves' quarters into their order.
            let even = _mm256_shuffle_ps::<0b10_00_10_00>(self.0, next.0);
            let odd = _mm256_shuffle_ps::<0b11_01_11_01>(self.0, next.0);
            let even = _mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(even));
            let odd = _mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(odd));
            (Avx2(_mm256_castpd_ps(even)), Avx2(_mm256_castpd_ps(odd)))
        }
    }

    #[inline(always)]
    fn to_array(self) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        // SAFETY: the array has eight floats.
        unsafe { self.store(lanes.as_mut_ptr()) };
        lanes
    }
}

/// Of four rows, lanes 0 and 4, 1 and 5, 2 and 6, 3 and 7: each pair's from all rows, the first
/// lane's in the lower half.
#[inline(always)]
fn transpose_half(a: Avx2, b: Avx2, c: Avx2, d: Avx2) -> [__m256; 4] {
    // SAFETY: the instructions exist, see above.
    unsafe {
        let (ab, cd) = (_mm256_unpacklo_ps(a.0, b.0), _mm256_unpacklo_ps(c.0, d.0));
        let (ab2, cd2) = (_mm256_unpackhi_ps(a.0, b.0), _mm256_unpackhi_ps(c.0, d.0));
        [
            _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
            _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
            _mm256_shuffle_ps::<0b01_00_01_00>(ab2, cd2),
            _mm256_shuffle_ps::<0b11_10_11_10>(ab2, cd2),
        ]
    }
}
