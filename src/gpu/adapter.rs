use serde::Serialize;

use crate::error::{Error, Result};

/// What `devices` shows of an adapter.
#[derive(Clone, Debug, Serialize)]
pub struct AdapterSummary {
    /// The adapter's name, as its driver gives it.
    pub name: String,
    /// `Vulkan`, `Metal`, `Dx12` or `Gl`.
    pub backend: String,
    /// `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu` or `Other`.
    pub kind: String,
    /// Driver and version.
    pub driver: String,
    /// Whether it runs on the CPU.
    pub software: bool,
    /// Smallest and largest subgroup.
    pub subgroup: [u32; 2],
    /// Bytes of the largest storage binding.
    pub max_binding_bytes: u64,
    /// Bytes of the largest buffer.
    pub max_buffer_bytes: u64,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Invocations of a workgroup.
    pub workgroup_invocations: u32,
    /// Storage buffers a kernel may bind.
    pub storage_buffers: u32,
    /// Features of use to compute.
    pub features: Vec<String>,
}

impl AdapterSummary {
    /// Whether its memory is that of the machine.
    pub fn shares_memory(&self) -> bool {
        self.software || self.kind == format!("{:?}", wgpu::DeviceType::IntegratedGpu)
    }
}

/// All adapters of this machine, the best first: discrete, integrated, virtual, others, then software. OpenGL is asked
/// only where nothing better answers.
pub fn adapters() -> Vec<wgpu::Adapter> {
    let native = find(wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12);
    if native.is_empty() { find(wgpu::Backends::GL) } else { native }
}

fn find(backends: wgpu::Backends) -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    descriptor.flags.set(wgpu::InstanceFlags::VALIDATION, std::env::var_os("OCELLUS_VALIDATION").is_some());
    let instance = wgpu::Instance::new(descriptor);
    let mut adapters = pollster::block_on(instance.enumerate_adapters(backends));
    adapters.retain(|a| a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS));
    adapters.sort_by_key(|a| match a.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    adapters
}

/// Whether an adapter runs on the CPU. GL drivers do not say so of themselves; their names do.
pub(super) fn is_software(info: &wgpu::AdapterInfo) -> bool {
    let name = info.name.to_lowercase();
    info.device_type == wgpu::DeviceType::Cpu
        || ["llvmpipe", "swiftshader", "softpipe", "basic render"].iter().any(|known| name.contains(known))
}

/// What an adapter is and can do.
pub fn describe(adapter: &wgpu::Adapter) -> AdapterSummary {
    let (info, limits) = (adapter.get_info(), adapter.limits());
    let features = [
        (wgpu::Features::SUBGROUP, "subgroup"),
        (wgpu::Features::SHADER_F16, "shader-f16"),
        (wgpu::Features::TIMESTAMP_QUERY, "timestamp-query"),
        (wgpu::Features::PIPELINE_CACHE, "pipeline-cache"),
        (wgpu::Features::MAPPABLE_PRIMARY_BUFFERS, "mappable-primary-buffers"),
    ];
    AdapterSummary {
        software: is_software(&info),
        backend: format!("{:?}", info.backend),
        kind: format!("{:?}", info.device_type),
        driver: [info.driver.as_str(), info.driver_info.as_str()].join(" ").trim().to_owned(),
        name: info.name,
        subgroup: [info.subgroup_min_size, info.subgroup_max_size],
        max_binding_bytes: limits.max_storage_buffer_binding_size,
        max_buffer_bytes: limits.max_buffer_size,
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        workgroup_invocations: limits.max_compute_invocations_per_workgroup,
        storage_buffers: limits.max_storage_buffers_per_shader_stage,
        features: features.iter().filter(|(f, _)| adapter.features().contains(*f)).map(|(_, n)| (*n).into()).collect(),
    }
}

/// The adapter that a user means by `gpu`, an index, or part of a name.
///
/// Errors: if there is none, listing those there are.
pub(super) fn choose(wanted: &str) -> Result<wgpu::Adapter> {
    let mut all = adapters();
    let names: Vec<String> = all.iter().map(|a| a.get_info().name).collect();
    if all.is_empty() {
        let message = "no GPU adapter was found: install a driver for your GPU (or a software one, for instance \
                       Debian's mesa-vulkan-drivers), or use --device cpu";
        return Err(Error::device(message));
    }
    let position = match wanted.parse::<usize>() {
        Ok(index) => (index < all.len()).then_some(index),
        Err(_) if wanted == "gpu" => Some(0),
        Err(_) => names.iter().position(|n| n.to_lowercase().contains(&wanted.to_lowercase())),
    };
    let listed: Vec<String> = names.iter().enumerate().map(|(i, n)| format!("{i}: {n}")).collect();
    let message = || format!("no device \"{wanted}\": there are cpu, {}", listed.join(", "));
    position.map(|i| all.swap_remove(i)).ok_or_else(|| Error::device(message()))
}
