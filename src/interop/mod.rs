//! Files of other programs, one module each: what comes in and goes out are tensors by name.

mod hdf5;
pub mod hub;
pub mod keras;
pub mod npy;
pub mod onnx;
pub mod safetensors;
pub mod tensorboard;
pub mod torch;
pub mod weights;
