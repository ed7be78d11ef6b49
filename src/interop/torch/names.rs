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

#[cfg(test)]
mod tests {
    use super::*;

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
