//! OAuth connections: flows, tokens that are always fresh, and none that is lost.

mod refresh;
mod replay;
