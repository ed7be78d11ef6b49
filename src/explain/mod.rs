//! Why a network answers as it does: which pixels speak for a class, of the whole picture or of places in it.
//!
//! What comes in are a network with its weights on a device ([`Watched`]) and a picture; what goes out is a [`Heatmap`] over its
//! pixels by one of several [methods](Method), and measures of what it is worth: [curves](faithfulness) of the class's probability as
//! the pixels named go or come, and what becomes of the map when the weights are drawn anew.

pub mod faithfulness;
mod heatmap;
mod methods;
mod score;
mod views;
mod watched;

pub use heatmap::Heatmap;
pub use methods::{Method, explain};
pub use score::Score;
pub use views::{channels, filters};
pub use watched::{Seen, Watched};
