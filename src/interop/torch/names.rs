use std::collections::HashMap;

/// The name that a tensor has in our networks: that of torchvision and timm, into which names of other origin are turned.
pub fn own_name(name: &str) -> String {
    match name {
        // Parameters of the network itself, which are layers here.
        "cls_token" | "pos_embed" => format!("{name}.weight"),
        name => efficientnet_pytorch(name).unwrap_or_else(|| name.to_owned()),
    }
}

/// From the names of the packages `efficientnet_pytorch` and `efficientnet_lite_pytorch`, which count blocks through all
/// stages and each block's normalisations from 0 if it widens.
fn efficientnet_pytorch(name: &str) -> Option<String> {
    const BLOCKS: [usize; 7] = [1, 2, 2, 3, 3, 4, 1];
    let outer = [
        ("_conv_stem.", "conv_stem."),
        ("_bn0.", "bn1."),
        ("_conv_head.", "conv_head."),
        ("_bn1.", "bn2."),
        ("_fc.", "classifier."),
    ];
    if let Some((from, to)) = outer.iter().find(|(from, _)| name.starts_with(from)) {
        return Some(name.replacen(from, to, 1));
    }
    let (number, part) = name.strip_prefix("_blocks.")?.split_once('.')?;
    let mut block: usize = number.parse().ok()?;
    let mut stage = 0;
    while block >= *BLOCKS.get(stage)? {
        block -= BLOCKS[stage];
        stage += 1;
    }
    let inner = match stage {
        0 => [("_depthwise_conv.", "conv_dw."), ("_bn1.", "bn1."), ("_project_conv.", "conv_pw."), ("_bn2.", "bn2.")]
            .to_vec(),
        _ => [
            ("_expand_conv.", "conv_pw."),
            ("_bn0.", "bn1."),
            ("_depthwise_conv.", "conv_dw."),
            ("_bn1.", "bn2."),
            ("_project_conv.", "conv_pwl."),
            ("_bn2.", "bn3."),
        ]
        .to_vec(),
    };
    let (from, to) = inner.into_iter().find(|(from, _)| part.starts_with(from))?;
    Some(format!("blocks.{stage}.{block}.{}", part.replacen(from, to, 1)))
}

/// Layers of a MobileNet under timm's names, by which of torchvision's they are: both have the same ones in the same order. Empty if
/// the names are others.
pub fn mobilenet_layers<'a>(given: impl Iterator<Item = &'a str>, own: &[&str]) -> HashMap<String, String> {
    fn layer(name: &str) -> &str {
        name.rsplit_once('.').map_or(name, |(layer, _)| layer)
    }
    let mut layers: Vec<&str> = given.map(layer).collect();
    layers.sort_unstable();
    layers.dedup();
    let mut targets: Vec<&str> = own.iter().map(|name| layer(name)).collect();
    targets.dedup();
    let widens = |block: &str| layers.contains(&format!("{block}.conv_pwl").as_str());
    let mut ordered: Vec<(Vec<usize>, &str)> = Vec::new();
    for name in &layers {
        match timm_order(name, &widens) {
            Some(order) => ordered.push((order, name)),
            None => return HashMap::new(),
        }
    }
    ordered.sort();
    if !own.contains(&"features.0.0.weight") || ordered.len() != targets.len() {
        return HashMap::new();
    }
    ordered.iter().zip(&targets).map(|((_, from), to)| ((*from).to_owned(), (*to).to_owned())).collect()
}

/// Where a layer of timm's MobileNets stands in the order of computation.
fn timm_order(name: &str, widens: &dyn Fn(&str) -> bool) -> Option<Vec<usize>> {
    const OUTER: [(&str, usize); 5] = [("conv_stem", 0), ("bn1", 1), ("conv_head", 3), ("bn2", 4), ("classifier", 5)];
    if let Some((_, place)) = OUTER.iter().find(|(outer, _)| *outer == name) {
        return Some(vec![*place]);
    }
    let rest = name.strip_prefix("blocks.")?;
    let (stage, rest) = rest.split_once('.')?;
    let (block, part) = rest.split_once('.')?;
    let parts: &[&str] = match widens(&format!("blocks.{stage}.{block}")) {
        true => &["conv_pw", "bn1", "conv_dw", "bn2", "se.conv_reduce", "se.conv_expand", "conv_pwl", "bn3"],
        false => &["conv", "conv_dw", "bn1", "se.conv_reduce", "se.conv_expand", "conv_pw", "bn2"],
    };
    let place = parts.iter().position(|p| *p == part)?;
    Some(vec![2, stage.parse().ok()?, block.parse().ok()?, place])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::zoo;

    #[test]
    fn mobilenets_under_timm_names() {
        let model = zoo::build("mobilenet_v3_small", [32, 32, 3], 10).unwrap();
        let tensors = model.tensors().unwrap();
        let own: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        let mut given: Vec<String> = ["conv_stem", "bn1", "conv_head", "classifier"].map(String::from).to_vec();
        let squeezes = [[true, false].as_slice(), &[false, false], &[true; 3], &[true; 2], &[true; 3]];
        let mut block =
            |name: &str, parts: &[&str]| given.extend(parts.iter().map(|part| format!("blocks.{name}.{part}")));
        block("0.0", &["conv_dw", "bn1", "se.conv_reduce", "se.conv_expand", "conv_pw", "bn2"]);
        for (stage, blocks) in squeezes.iter().enumerate().skip(1) {
            for (i, squeeze) in blocks.iter().enumerate() {
                let name = format!("{stage}.{i}");
                block(&name, &["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"]);
                if *squeeze {
                    block(&name, &["se.conv_reduce", "se.conv_expand"]);
                }
            }
        }
        block("5.0", &["conv", "bn1"]);
        let names: Vec<String> = given.iter().map(|layer| format!("{layer}.weight")).collect();
        let layers = mobilenet_layers(names.iter().map(String::as_str), &own);
        let of = |name: &str| layers.get(name).map(String::as_str);
        assert_eq!(of("blocks.0.0.se.conv_expand"), Some("features.1.block.1.fc2"));
        assert_eq!(of("blocks.1.0.conv_pwl"), Some("features.2.block.2.0"));
        assert_eq!(of("blocks.2.0.conv_pwl"), Some("features.4.block.3.0"));
        assert_eq!(of("blocks.5.0.bn1"), Some("features.12.1"));
        assert_eq!((of("conv_head"), of("classifier")), (Some("classifier.0"), Some("classifier.3")));
        assert!(mobilenet_layers(["layer1.0.conv1.weight"].into_iter(), &own).is_empty());
    }

    #[test]
    fn blocks_are_counted_within_their_stage() {
        assert_eq!(own_name("_blocks.0._project_conv.weight"), "blocks.0.0.conv_pw.weight");
        assert_eq!(own_name("_blocks.4._bn1.running_mean"), "blocks.2.1.bn2.running_mean");
        assert_eq!(own_name("_blocks.15._project_conv.weight"), "blocks.6.0.conv_pwl.weight");
        assert_eq!(own_name("_bn1.bias"), "bn2.bias");
        assert_eq!(own_name("_fc.bias"), "classifier.bias");
        for unchanged in ["layer1.0.conv1.weight", "_blocks.99._bn1.bias", "_blocks.x", "_blocks.1._other.bias"] {
            assert_eq!(own_name(unchanged), unchanged);
        }
    }
}
