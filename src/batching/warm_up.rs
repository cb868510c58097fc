//! Runs before a version is ready: an engine's first run of a session, and of a shape, takes
//! longer than those after it.

use super::axes::Axes;
use super::layout::Site;
use super::measure::Load;
use super::sample::{Sample, SampleShapes, Values};
use super::settings::WarmUpRuns;
use super::slot::Slot;
use crate::engine::{EngineError, Signature};

/// Size of open axes where no sample has shown one that the model takes.
const OPEN_SIZE: usize = 1;

/// Runs what is configured on every session; a session that has not run yet at all, once with
/// one row.
///
/// # Errors
/// A configured run failed.
pub(super) fn warm_up(
    site: &Site<'_>,
    signature: &Signature,
    axes: &Axes,
    slots: &mut [Slot],
) -> Result<(), EngineError> {
    for runs in &site.settings.warm_up {
        let load = load(site, signature, axes, runs).ok_or_else(|| EngineError::RunFailed {
            reason: format!("warm-up inputs of shapes {:?} cannot be made", runs.shapes),
        })?;
        for slot in &mut *slots {
            for _ in 0..runs.count {
                load.try_run(slot)?;
            }
        }
    }
    let first = site.sample.and_then(|sample| Load::new(sample, site.plan, 1));
    if let Some(load) = first {
        for slot in slots.iter_mut().filter(|slot| !slot.warm()) {
            // A made-up input that is refused is no reason not to serve.
            load.run(slot);
        }
    }
    Ok(())
}

fn load(site: &Site<'_>, signature: &Signature, axes: &Axes, runs: &WarmUpRuns) -> Option<Load> {
    let mut configured = site.settings.sample_shapes.clone();
    configured.extend(runs.shapes.clone());
    let shapes = SampleShapes {
        signature,
        axes: &axes.inputs,
        configured: &configured,
        open: site.sample.map_or(OPEN_SIZE, |sample| sample.open),
    };
    let values = site.sample.map_or(Values::Small, |sample| sample.values);
    Load::new(&Sample::new(&shapes, values)?, site.plan, runs.batch_size.max(1))
}
