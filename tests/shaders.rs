//! Every kernel in every variant: valid WGSL, the bindings its launch says, within the limits every adapter has, and
//! translatable to what Vulkan, Metal and Direct3D want. None of it needs a GPU.

#[path = "common/kernels.rs"]
mod kernels;

use std::io::Write;
use std::process::{Command, Stdio};

use kernels::{Described, launches};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, StorageAccess, back};
use ocellus::graph::{Binding, MAX_WORKGROUPS};
use ocellus::tensor::DType;

fn uses_subgroups(source: &str) -> bool {
    source.contains("subgroup")
}

fn uses_half(source: &str) -> bool {
    source.starts_with("enable f16;")
}

/// Cooperative matrices exist on Vulkan and Metal alone.
fn is_cooperative(source: &str) -> bool {
    source.starts_with("enable wgpu_cooperative_matrix;")
}

fn validated(kernel: &Described) -> (Module, ModuleInfo) {
    let source = &kernel.launch.source;
    let module = naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|e| panic!("{}: {}\n{source}", kernel.name, e.emit_to_string(source)));
    let mut capabilities = Capabilities::empty();
    capabilities.set(Capabilities::SHADER_FLOAT16, uses_half(source));
    capabilities.set(Capabilities::SUBGROUP, uses_subgroups(source));
    capabilities.set(Capabilities::COOPERATIVE_MATRIX, is_cooperative(source));
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    validator
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{}: {e:?}\n{source}", kernel.name));
    (module, info)
}

fn read_only(binding: Binding) -> bool {
    matches!(binding, Binding::Input(_) | Binding::Gradients | Binding::GradientScale)
}

#[test]
fn bindings_and_limits_are_what_launches_say() {
    for kernel in launches(&[DType::F32, DType::F16]) {
        let (module, _) = validated(&kernel);
        let name = &kernel.name;
        assert!(kernel.launch.bindings.len() <= 8, "{name}: more than 8 storage buffers");
        assert!(
            kernel.launch.workgroups.iter().all(|&w| (1..=MAX_WORKGROUPS).contains(&w)),
            "{name}: {:?}",
            kernel.launch.workgroups
        );
        let layouter = {
            let mut layouter = naga::proc::Layouter::default();
            layouter.update(module.to_ctx()).unwrap();
            layouter
        };
        let mut workgroup_bytes = 0;
        for (_, variable) in module.global_variables.iter() {
            let size = layouter[variable.ty].size as usize;
            match (variable.space, &variable.binding) {
                (AddressSpace::Uniform, Some(b)) => {
                    assert_eq!((b.group, b.binding), (0, 0), "{name}");
                    assert_eq!(size, kernel.launch.params.len() * 4, "{name}: Params has another size than its words");
                }
                (AddressSpace::Storage { access }, Some(b)) => {
                    let binding = kernel.launch.bindings[b.binding as usize - 1];
                    let writable = access.contains(StorageAccess::STORE);
                    assert_eq!(writable, !read_only(binding), "{name}: binding {}", b.binding);
                }
                (AddressSpace::WorkGroup, _) => workgroup_bytes += size,
                _ => {}
            }
        }
        let entry = &module.entry_points[0];
        assert_eq!(module.entry_points.len(), 1, "{name}");
        let invocations: u32 = entry.workgroup_size.iter().product();
        assert!(invocations <= 256, "{name}: {invocations} invocations in a workgroup");
        assert!(workgroup_bytes <= 16 << 10, "{name}: {workgroup_bytes} bytes of workgroup memory");
    }
}

#[test]
fn translate_to_metal_and_direct3d() {
    for kernel in launches(&[DType::F32, DType::F16]) {
        let (module, info) = validated(&kernel);
        let metal = back::msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..Default::default() };
        back::msl::write_string(&module, &info, &metal, &back::msl::PipelineOptions::default())
            .unwrap_or_else(|e| panic!("{}: MSL: {e}", kernel.name));
        if is_cooperative(&kernel.launch.source) {
            continue;
        }
        let options = back::hlsl::Options {
            shader_model: back::hlsl::ShaderModel::V6_0,
            fake_missing_bindings: true,
            ..Default::default()
        };
        let pipeline = back::hlsl::PipelineOptions::default();
        let mut text = String::new();
        back::hlsl::Writer::new(&mut text, &options, &pipeline)
            .write(&module, &info, None)
            .unwrap_or_else(|e| panic!("{}: HLSL: {e}", kernel.name));
    }
}

#[test]
fn cooperative_matrices_come_in_every_transposition() {
    let kernels = launches(&[DType::F32, DType::F16]).into_iter().filter(|k| is_cooperative(&k.launch.source)).count();
    assert_eq!(kernels, 4);
}

#[test]
fn translate_to_opengl_where_it_has_what_they_need() {
    let mut written = 0;
    for kernel in launches(&[DType::F32, DType::F16])
        .into_iter()
        .filter(|k| ![uses_subgroups, uses_half, is_cooperative].iter().any(|uses| uses(&k.launch.source)))
    {
        let (module, info) = validated(&kernel);
        let options = back::glsl::Options {
            version: back::glsl::Version::Embedded { version: 310, is_webgl: false },
            ..Default::default()
        };
        let pipeline = back::glsl::PipelineOptions {
            shader_stage: naga::ShaderStage::Compute,
            entry_point: "main".into(),
            multiview: None,
        };
        let mut text = String::new();
        let policies = naga::proc::BoundsCheckPolicies::default();
        back::glsl::Writer::new(&mut text, &module, &info, &options, &pipeline, policies)
            .and_then(|mut writer| writer.write())
            .unwrap_or_else(|e| panic!("{}: GLSL: {e}", kernel.name));
        written += 1;
    }
    assert!(written > 0);
}

#[test]
fn translate_to_spirv_that_its_validator_accepts() {
    for kernel in launches(&[DType::F32, DType::F16]) {
        let (module, info) = validated(&kernel);
        let cooperative = is_cooperative(&kernel.launch.source);
        let lang_version = if cooperative { (1, 6) } else { (1, 3) };
        let options = back::spv::Options { lang_version, ..Default::default() };
        let words = back::spv::write_vec(&module, &info, &options, None)
            .unwrap_or_else(|e| panic!("{}: SPIR-V: {e}", kernel.name));
        if cooperative {
            // Newer than the validators that distributions ship.
            continue;
        }
        let mut check = Command::new("spirv-val")
            .args(["--target-env", "vulkan1.1", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("spirv-val runs (Debian: apt-get install spirv-tools)");
        check.stdin.take().unwrap().write_all(bytemuck::cast_slice(&words)).unwrap();
        let output = check.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}: {}", kernel.name, String::from_utf8_lossy(&said));
    }
}
