//! How many nodes of a model each execution provider took.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::ptr;

use ort::AsPointer;
use ort::session::Session;
use ort::sys::OrtEpAssignedSubgraph;

use super::value::check;
use crate::engine::NodePlacement;

/// Counts per provider, most nodes first; empty where ONNX Runtime does not tell.
pub(super) fn nodes_by_provider(session: &Session) -> Vec<NodePlacement> {
    let counts = count(session).unwrap_or_default();
    let mut nodes: Vec<NodePlacement> =
        counts.into_iter().map(|(provider, nodes)| NodePlacement { provider, nodes }).collect();
    nodes.sort_by_key(|placement| std::cmp::Reverse(placement.nodes));
    nodes
}

fn count(session: &Session) -> Result<BTreeMap<String, usize>, ort::Error> {
    let api = ort::api();
    let mut subgraphs: *const *const OrtEpAssignedSubgraph = ptr::null();
    let mut subgraph_count = 0;
    let mut counts = BTreeMap::new();
    // SAFETY: the session lives, out-pointers are valid, and all that comes back is borrowed from
    // the session and read before this function returns.
    unsafe {
        check((api.Session_GetEpGraphAssignmentInfo)(
            session.ptr(),
            &mut subgraphs,
            &mut subgraph_count,
        ))?;
        for index in 0..subgraph_count {
            let subgraph = *subgraphs.add(index);
            let mut name = ptr::null();
            let (mut nodes, mut node_count) = (ptr::null(), 0);
            check((api.EpAssignedSubgraph_GetEpName)(subgraph, &mut name))?;
            check((api.EpAssignedSubgraph_GetNodes)(subgraph, &mut nodes, &mut node_count))?;
            let provider = CStr::from_ptr(name).to_string_lossy().into_owned();
            *counts.entry(provider).or_insert(0) += node_count;
        }
    }
    Ok(counts)
}
