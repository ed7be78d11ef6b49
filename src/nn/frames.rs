use super::layers::{Dense, JoinFrames, LSTM, SplitFrames};
use super::{Activation, LayerSpec, Model};
use crate::error::{Error, Result};

/// A network for sequences of frames: `network`, made for one frame, without its last layer looks at each of them; an LSTM of
/// `units` reads what it found; a dense layer gives a probability for each class.
///
/// Its pictures hold the frames one below another. Layers keep their names, so that weights for `network` fit.
///
/// Errors: if the last layer of `network` is no dense layer.
/// Source: Donahue et al., Long-term Recurrent Convolutional Networks for Visual Recognition and Description, 2015,
/// <https://arxiv.org/abs/1411.4389>, with the last step's answer instead of the mean over all.
///
/// ```
/// use ocellus::nn::{over_frames, zoo};
/// let frame = zoo::build("vgg-small", [32, 32, 3], 10)?;
/// let model = over_frames(&frame, 8, 64, 4)?;
/// assert_eq!(model.input, [8 * 32, 32, 3]);
/// # Ok::<(), ocellus::Error>(())
/// ```
pub fn over_frames(network: &Model, frames: usize, units: usize, classes: usize) -> Result<Model> {
    let [height, width, channels] = network.input;
    let mut model = Model::new([frames * height, width, channels]);
    let is = |spec: &LayerSpec, type_name: &str| spec.layer.type_name() == type_name;
    let without_activation = match network.layers() {
        [before @ .., last] if is(last, "activation") => before,
        all => all,
    };
    let Some((head, layers)) = without_activation.split_last().filter(|(head, _)| is(head, "dense")) else {
        let last = without_activation.last().map_or("nothing", |last| last.layer.type_name());
        return Err(Error::config(format!(
            "to look at frames, a network must end in a dense layer, which is replaced, not in {last}"
        )));
    };
    let split = model.named("split_frames", SplitFrames { frames }, [Model::INPUT]);
    let from = |name: &String| if name == Model::INPUT { split.clone() } else { name.clone() };
    for spec in layers {
        let inputs = spec.inputs.iter().map(from).collect();
        model.push(&spec.name, inputs, spec.layer.clone());
    }
    let features = from(&head.inputs[0]);
    model.named("join_frames", JoinFrames { frames }, [features]);
    model.named("lstm", LSTM::new(units), ["join_frames"]);
    model.named("classes", Dense { activation: Activation::Softmax, ..Dense::new(classes) }, ["lstm"]);
    Ok(model)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::graph::{Graph, evaluate};
    use crate::nn::layers::{Conv2D, Flatten, GlobalAveragePooling2D};
    use crate::nn::{Mode, zoo};
    use crate::seed::Seed;
    use crate::tensor::{Array, Meta};

    fn frame_network() -> Model {
        let mut model = Model::new([4, 3, 1]);
        model.named("conv", Conv2D::new(2, 3), [Model::INPUT]);
        model.named("flat", Flatten {}, ["conv"]);
        model.named("head", Dense::new(7), ["flat"]);
        model
    }

    /// What a network gives for a picture, in f64.
    fn answers(model: &Model, n: usize, pixels: &[f64]) -> Vec<f64> {
        let mut graph = Graph::new();
        let [h, w, c] = model.input;
        let input = graph.input("pixels", Meta::f32([n, h, w, c]));
        let built = model.build(&mut graph, input, Mode::Inference).unwrap();
        let weights = model.initialize(Seed(3)).unwrap();
        let mut given: HashMap<_, _> =
            graph.parameters().map(|(v, node)| (v, weights[&node.name].to_array())).collect();
        given.insert(input, Array { shape: [n, h, w, c].into(), data: pixels.to_vec() });
        evaluate(&graph, &given).swap_remove(built.output.index()).data
    }

    #[test]
    fn each_frame_is_looked_at_by_itself_and_their_order_matters() {
        let model = over_frames(&frame_network(), 3, 5, 2).unwrap();
        let frame = |seed: usize| (0..12).map(|i| ((i * 7 + seed * 5) % 11) as f64 / 11.0).collect::<Vec<_>>();
        let (forth, back) = ([1, 2, 3].map(frame).concat(), [3, 2, 1].map(frame).concat());
        let both = answers(&model, 2, &[forth.clone(), back.clone()].concat());
        assert_eq!(both[..2], answers(&model, 1, &forth), "sequences of a batch do not mix");
        assert_eq!(both[2..], answers(&model, 1, &back));
        assert!((both[0] - both[2]).abs() > 1e-4, "{both:?}");
    }

    #[test]
    fn weights_keep_their_names_and_any_classifier_will_do() {
        let names = |model: &Model| model.tensors().unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let model = over_frames(&frame_network(), 3, 5, 2).unwrap();
        assert_eq!(names(&model)[..2], names(&frame_network())[..2]);
        let copy = Model::parse(&model.to_toml().unwrap()).unwrap();
        assert_eq!(names(&copy), names(&model));
        for name in ["lenet", "vgg-small", "resnet18", "vit_tiny"] {
            let frame = zoo::build(name, [32, 32, 3], 10).unwrap();
            assert_eq!(over_frames(&frame, 4, 16, 3).unwrap().summary().unwrap().layers.last().unwrap().output, [3]);
        }
        let pooled = {
            let mut model = Model::new([4, 3, 1]);
            model.layer(GlobalAveragePooling2D {}, [Model::INPUT]);
            model
        };
        assert!(over_frames(&pooled, 2, 4, 2).unwrap_err().to_string().contains("not in global_average_pool2d"));
    }

    #[test]
    fn frames_that_do_not_divide_are_an_error() {
        let mut model = over_frames(&frame_network(), 3, 5, 2).unwrap();
        model.input[0] = 13;
        assert!(model.summary().unwrap_err().to_string().contains("does not divide into 3 frames"));
    }
}
