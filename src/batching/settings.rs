//! What an operator decides about one model's batching, and what was found out about it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Rows per batch where nothing is said, and the most that a measurement tries: beyond it, small
/// models on a CPU answer hardly more rows a second, and each request waits longer.
pub const DEFAULT_MAX_BATCH_SIZE: usize = 32;
/// Requests that may wait per model; more are refused with 429.
pub const DEFAULT_MAX_QUEUE_SIZE: usize = 1024;

/// Whether requests may be batched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchingMode {
    /// Where rows run together and alone give the same answers at load.
    #[default]
    Proven,
    /// Always, whatever the proof says (`batching = "force"`).
    Force,
    /// Never.
    Off,
}

/// An axis that may be padded, so that requests of unlike lengths share a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct PaddedAxis {
    pub input: String,
    pub axis: usize,
    /// What the padding is filled with; rounded to the input's type.
    pub value: f64,
}

/// Where the batch lies in a tensor, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchAxes {
    /// Name of an input or output.
    pub tensor: String,
    /// `None`: the tensor has no batch axis; an input must then be equal in all requests of a
    /// batch, an output is given to each request whole.
    pub axis: Option<usize>,
}

/// Where runs happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayoutChoice {
    /// Decided by what a run takes, measured in warm-up.
    #[default]
    Auto,
    /// On the network thread that batches.
    Inline,
    /// On instance threads.
    Threads,
}

/// Settings of one model's batching.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchingSettings {
    pub mode: BatchingMode,
    /// Rows per batch at most; `None` leaves the choice to the measurement at load, up to
    /// [`DEFAULT_MAX_BATCH_SIZE`].
    pub max_batch_size: Option<usize>,
    /// Sizes that a delayed batch does not wait beyond.
    pub preferred_batch_sizes: Vec<usize>,
    /// How long a batch that is not full may wait for more; zero never waits.
    pub max_queue_delay: Duration,
    pub max_queue_size: usize,
    /// Deadline for requests that bring none; `None` waits as long as the client does.
    pub default_timeout: Option<Duration>,
    /// Whether a request's own `timeout` may be longer than the default.
    pub allow_timeout_override: bool,
    /// 0: priorities are ignored.
    pub priority_levels: u32,
    pub default_priority: u32,
    pub axes: Vec<BatchAxes>,
    pub padding: Vec<PaddedAxis>,
    pub layout: LayoutChoice,
    /// `None`: found by measurement.
    pub instances: Option<usize>,
    /// CPU threads per instance; `None`: found by measurement.
    pub threads: Option<usize>,
    /// Where the measured layout is kept between starts; `None` keeps nothing.
    pub layout_cache: Option<PathBuf>,
    /// What tells the model file from any other, such as its digest: a layout measured for
    /// another is not taken from the cache. Empty keeps nothing.
    pub layout_key: String,
    /// Sessions of a version that is run inline: one per network thread lets them run at once.
    pub inline_sessions: usize,
    /// Shapes of made-up inputs for proof and measurement, by input: sizes of every axis, of
    /// every axis but the batch's, or of every open axis but the batch's. What is not named is
    /// guessed.
    pub sample_shapes: BTreeMap<String, Vec<usize>>,
}

impl BatchingSettings {
    /// What a model without any configuration gets.
    pub fn standard() -> BatchingSettings {
        BatchingSettings {
            mode: BatchingMode::Proven,
            max_batch_size: None,
            preferred_batch_sizes: Vec::new(),
            max_queue_delay: Duration::ZERO,
            max_queue_size: DEFAULT_MAX_QUEUE_SIZE,
            default_timeout: None,
            allow_timeout_override: true,
            priority_levels: 0,
            default_priority: 0,
            axes: Vec::new(),
            padding: Vec::new(),
            layout: LayoutChoice::Auto,
            instances: None,
            threads: None,
            layout_cache: None,
            layout_key: String::new(),
            inline_sessions: 1,
            sample_shapes: BTreeMap::new(),
        }
    }
}

/// How a version is laid out on the machine, decided at load.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Runs happen on the network threads.
    pub inline: bool,
    pub instances: usize,
    pub threads: usize,
    pub max_batch_size: usize,
    /// Where the decision comes from: `configured`, `measured` or `cached`.
    pub origin: &'static str,
}
