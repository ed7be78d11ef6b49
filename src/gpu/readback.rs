use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};

use super::context::Gpu;
use crate::error::{Error, Result};

/// A buffer on its way to the host.
pub(super) struct Readback {
    buffer: wgpu::Buffer,
    bytes: u64,
    submission: wgpu::SubmissionIndex,
    arrived: OneshotReceiver<std::result::Result<(), wgpu::BufferAsyncError>>,
}

impl Readback {
    /// Asks for `buffer`, to which `submission` copies.
    pub fn request(buffer: wgpu::Buffer, bytes: u64, submission: wgpu::SubmissionIndex) -> Self {
        let (sender, arrived) = oneshot_channel();
        buffer.slice(..bytes).map_async(wgpu::MapMode::Read, move |result| {
            // The receiver may be gone: then nobody wants the data.
            let _ = sender.send(result);
        });
        Self { buffer, bytes, submission, arrived }
    }

    /// Blocks until they are here.
    pub fn wait(self, gpu: &Gpu) -> Result<(Vec<u8>, wgpu::Buffer)> {
        wait(gpu, Some(self.submission.clone()))?;
        pollster::block_on(self.bytes())
    }

    /// The bytes, once they are here, and the buffer to use again. On native platforms somebody must poll the device.
    pub async fn bytes(self) -> Result<(Vec<u8>, wgpu::Buffer)> {
        match self.arrived.receive().await {
            Some(Ok(())) => {}
            Some(Err(e)) => return Err(Error::device(format!("reading results back failed: {e}"))),
            None => return Err(Error::device("reading results back was abandoned by the driver")),
        }
        let bytes = {
            let range = self.buffer.slice(..self.bytes);
            let view = range.get_mapped_range().map_err(|e| Error::device(format!("mapping results failed: {e}")))?;
            view.to_vec()
        };
        self.buffer.unmap();
        Ok((bytes, self.buffer))
    }
}

/// A buffer that results are copied to.
pub(super) fn staging(gpu: &Gpu, bytes: u64) -> wgpu::Buffer {
    gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("readback"),
        size: bytes.max(4),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// Waits until a submission is done, or all of them.
pub(super) fn wait(gpu: &Gpu, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
    let waited = gpu.device.poll(wgpu::PollType::Wait { submission_index, timeout: None });
    gpu.expect_alive()?;
    waited.map(|_| ()).map_err(|e| Error::device(format!("{}: waiting failed: {e}", gpu.summary().name)))
}

/// Reads a range of a buffer; blocks until it is there.
pub(super) fn read(gpu: &Gpu, source: &wgpu::Buffer, offset: usize, bytes: usize) -> Result<Vec<u8>> {
    let padded = bytes.next_multiple_of(4) as u64;
    let target = staging(gpu, padded);
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(source, offset as u64, &target, 0, padded);
    let submission = gpu.queue.submit([encoder.finish()]);
    let (mut data, _) = Readback::request(target, padded, submission).wait(gpu)?;
    data.truncate(bytes);
    Ok(data)
}
