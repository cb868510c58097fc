//! Attention as what it is made of: two products, and a softmax between them over what may be
//! looked at.

use super::Outputs;
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;
use crate::autodiff::size::Size;
use crate::onnx::proto::ElementType;
use crate::tensor::{DataType, Dimension};

/// What stands for a score of what may not be looked at: its exponential is 0 beside any other, and
/// unlike infinity it makes no NaN where nothing may be looked at.
const UNSEEN: f64 = -1e30;

/// Inputs behind query, key and value.
const MASK: usize = 3;
const PAST_KEY: usize = 4;
const PAST_VALUE: usize = 5;
/// How many keys of each sample count.
const COUNTED_KEYS: usize = 6;

pub(super) fn attention<'g>(c: &Call<'g, '_>) -> Result<Outputs<'g>, String> {
    let attention = Attention::of(c)?;
    let past = |input: usize, value: Expr<'g>| match c.optional_input(input) {
        Some(past) => Expr::concat(&[past, value], 2),
        None => value,
    };
    let [query, key, value] = [0, 1, 2].map(|input| attention.cut(input));
    let (key, value) = (past(PAST_KEY, key), past(PAST_VALUE, value));
    let scale = match c.has_attribute("scale") {
        true => c.float("scale", 1.0),
        false => 1.0 / (attention.width as f64).sqrt(),
    };
    let root = query.number(scale.sqrt());
    let turned = attention.repeated(key).transpose(&[0, 1, 3, 2]);
    let raw = (query * root).matmul(turned * root);
    let cap = c.float("softcap", 0.0);
    let capped = if cap > 0.0 { (raw / cap).tanh() * cap } else { raw };
    let (biased, allowed) = attention.masked(capped)?;
    let scores = allowed.map_or(biased, |allowed| allowed.select(biased, UNSEEN));
    let shares = attention.softmax(scores)?;
    // Where nothing may be looked at, nothing is seen.
    let shares = allowed.map_or(shares, |allowed| allowed.select(shares, 0.0));
    let seen = attention.joined(shares.matmul(attention.repeated(value)));
    let shown = match c.int("qk_matmul_output_mode", 0) {
        0 => raw,
        1 => capped,
        2 => allowed.map_or(biased, |allowed| allowed.select(biased, f64::NEG_INFINITY)),
        3 => shares,
        other => return Err(format!("its qk_matmul_output_mode is {other}")),
    };
    let given = |output: usize, value: Expr<'g>| c.has_output(output).then_some(value);
    Ok(vec![Some(seen), given(1, key), given(2, value), given(3, shown)])
}

/// A node, looked over.
struct Attention<'c, 'g, 'n> {
    c: &'c Call<'g, 'n>,
    /// Whether heads are parts of the last axis, rather than an axis of their own.
    flat: bool,
    heads: usize,
    /// Of keys and values, which several heads may share.
    shared_heads: usize,
    /// Of a head.
    width: usize,
}

impl<'c, 'g, 'n> Attention<'c, 'g, 'n> {
    fn of(c: &'c Call<'g, 'n>) -> Result<Attention<'c, 'g, 'n>, String> {
        let flat = c.input_rank(0) == 3;
        let known = |input: usize, axis: usize| match c.input_dimensions(input)[axis] {
            Dimension::Fixed(size) => Ok(size),
            _ => Err("the number or the width of its heads is not known".to_owned()),
        };
        let (heads, shared_heads) = match flat {
            true => (c.int("q_num_heads", 0) as usize, c.int("kv_num_heads", 0) as usize),
            false => (known(0, 1)?, known(1, 1)?),
        };
        if heads == 0 || shared_heads == 0 || heads % shared_heads != 0 {
            return Err(format!("{heads} heads cannot share {shared_heads}"));
        }
        let width = if flat { known(0, 2)? / heads } else { known(0, 3)? };
        let attention = Attention { c, flat, heads, shared_heads, width };
        let (mask, keys) = (attention.mask_length(), attention.total().known());
        if let (Some(mask), Some(keys)) = (mask, keys)
            && mask != keys
        {
            return Err(format!("its mask is for {mask} keys, of which there are {keys}"));
        }
        Ok(attention)
    }

    /// `[batch, heads, length, width]`.
    fn cut(&self, input: usize) -> Expr<'g> {
        let value = self.c.input(input);
        if !self.flat {
            return value;
        }
        let heads = if input == 0 { self.heads } else { self.shared_heads };
        let shape = self.c.emitter().ints(&[0, 0, heads as i64, -1]);
        value.reshape(shape).transpose(&[0, 2, 1, 3])
    }

    /// The other way round.
    fn joined(&self, value: Expr<'g>) -> Expr<'g> {
        if !self.flat {
            return value;
        }
        value.transpose(&[0, 2, 1, 3]).reshape(self.c.emitter().ints(&[0, 0, -1]))
    }

    /// Keys or values, one for each head.
    fn repeated(&self, value: Expr<'g>) -> Expr<'g> {
        if self.heads == self.shared_heads {
            return value;
        }
        let emitter = self.c.emitter();
        let times = (self.heads / self.shared_heads) as i64;
        // The width may be another one for values: it is the last, and the length is what is left.
        let several = value.unsqueeze(&[2]).expand(emitter.ints(&[1, 1, times, 1, 1]));
        let width = several.shape().slice_axis(0, 4, 5);
        let front = emitter.ints(&[0, self.heads as i64, -1]);
        several.reshape(Expr::concat(&[front, width], 0))
    }

    /// Queries, or new keys.
    fn length(&self, input: usize) -> Size<'g> {
        self.c.input_size(input, if self.flat { 1 } else { 2 })
    }

    fn past(&self) -> Size<'g> {
        match self.c.optional_input(PAST_KEY) {
            Some(_) => self.c.input_size(PAST_KEY, 2),
            None => Size::Known(0),
        }
    }

    /// Keys, those of the past included.
    fn total(&self) -> Size<'g> {
        self.past() + self.length(1)
    }

    fn mask_length(&self) -> Option<i64> {
        self.c.optional_input(MASK)?;
        match self.c.input_dimensions(MASK).last()? {
            Dimension::Fixed(length) => Some(*length as i64),
            _ => None,
        }
    }

    /// The scores with what a mask adds, and where one may look; `None` where everywhere.
    fn masked(&self, scores: Expr<'g>) -> Result<(Expr<'g>, Option<Expr<'g>>), String> {
        let mut biased = scores;
        let mut conditions = Vec::new();
        match self.c.optional_input(MASK) {
            Some(mask) if mask.data_type() == DataType::Bool => conditions.push(mask),
            Some(mask) => {
                conditions.push(mask.greater(f64::NEG_INFINITY));
                biased = biased + mask;
            }
            None => {}
        }
        let places = |size: Size<'g>| {
            let number = |value: f64| self.c.emitter().scalar(DataType::Int64, value);
            let end = size.vector(self.c.emitter()).squeeze(&[0]);
            number(0.0).call("Range", &[end, number(1.0)])
        };
        let keys = places(self.total());
        let counted = self.c.optional_input(COUNTED_KEYS);
        let counted = counted.map(|count| count.cast(DataType::Int64).unsqueeze(&[1, 2, 3]));
        // Of a query: the place among the keys that is its own.
        let first = match (self.c.optional_input(PAST_KEY), counted) {
            (None, Some(counted)) => counted - self.length(0).vector(self.c.emitter()),
            _ => self.past().vector(self.c.emitter()),
        };
        let own = places(self.length(0)).unsqueeze(&[1]) + first;
        if self.c.int("is_causal", 0) != 0 {
            conditions.push(keys.less_or_equal(own));
        }
        let window = |side: &str| Some(self.c.int(side, -1)).filter(|&width| width >= 0);
        if let Some(width) = window("left_window_size") {
            conditions.push((keys + width as f64).greater_or_equal(own));
        }
        if let Some(width) = window("right_window_size") {
            conditions.push((own + width as f64).greater_or_equal(keys));
        }
        conditions.extend(counted.map(|counted| keys.less(counted)));
        Ok((biased, conditions.into_iter().reduce(Expr::and)))
    }

    fn softmax(&self, scores: Expr<'g>) -> Result<Expr<'g>, String> {
        let softmax =
            |value: Expr<'g>| value.call_with("Softmax", &[], vec![("axis", (-1).into())]);
        if !self.c.has_attribute("softmax_precision") {
            return Ok(softmax(scores));
        }
        let number = self.c.int("softmax_precision", 0);
        let precise =
            i32::try_from(number).ok().and_then(|number| ElementType::try_from(number).ok());
        match precise.and_then(ElementType::data_type) {
            Some(data_type @ (DataType::Float32 | DataType::Float64)) => {
                Ok(softmax(scores.cast(data_type)).cast(scores.data_type()))
            }
            _ => Err(format!("its softmax_precision is {number}, expected that of FP32 or FP64")),
        }
    }
}
