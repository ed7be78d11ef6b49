//! Pictures and labels: from what lies on disk to batches of bytes.
//!
//! What comes in: a path that a user typed. What goes out: [`Batch`]es of `u8` images, class ids and augmentation rows,
//! which a training step sends to the device, and the [`Normalization`] that belongs to them.
//!
//! ```text
//! open ─▶ Splits ─▶ Dataset ─▶ Images ─▶ Loader ─▶ Batch, Batch, …
//!         (parts)   (paths     (each decoded once:   (shuffled, put together by
//!                   + labels)  what is unreadable,   threads, ahead of the step)
//!                              mean, cache)
//! ```
//!
//! A format is one file with one `read` function and one line in [`open`](fn@open)'s list. Everything random follows
//! from a [`Seed`] and a position (epoch, sample), never from which thread was first.

mod annotation;
mod audit;
mod augment;
mod boxes;
mod cache;
mod canvas;
mod cifar;
mod dataset;
mod decode;
mod decoded;
mod dicom;
mod files;
#[cfg(test)]
mod fixtures;
mod folder;
mod groups;
mod idx;
mod image;
mod images;
mod jpeg;
mod loader;
mod mask;
mod masks;
mod normalize;
mod open;
mod pool;
mod resize;
mod sampling;
mod sequences;
mod split;
mod table;
mod targets;
mod texts;
mod window;
mod workbench;

pub use crate::seed::Seed;
pub use annotation::{Annotation, BoundingBox};
pub use audit::{Audit, Finding, PartCounts, audit, audit_decoded};
pub use augment::{Augment, Mixes};
pub use boxes::{holds_boxes, open_boxes, open_labelled_boxes};
pub use cache::Cache;
pub use canvas::{Canvas, Fit};
pub use dataset::{Dataset, Probe, Region, Sample, Source, Stack};
pub use files::list_images;
pub use folder::ImageFolder;
pub use groups::GroupBy;
pub use image::{Header, Image};
pub use images::Images;
pub use loader::{Batch, Epoch, Loader, LoaderOptions};
pub use mask::{ClassMap, Coding, Mask, UNLABELLED};
pub use masks::{MaskCoding, MaskOptions, has_masks, open_masks, read_names, read_palette};
pub use normalize::{Normalization, Normalize};
pub use open::{open, open_labelled, open_parts, read as read_labelled};
pub use pool::Pixels;
pub use sampling::Sampling;
pub use sequences::{list_sequences, open_labelled_sequences, open_sequences};
pub use split::{Part, Splits};
pub use targets::{Target, Targets};
pub use texts::{TextFrom, holds_texts, open_labelled_texts, open_texts};
pub use window::Window;
