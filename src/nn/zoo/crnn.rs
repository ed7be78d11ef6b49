use super::chain::{Chain, conv, scaled};
use crate::nn::layers::{Conv2D, Dense, LSTM, MaxPooling2D, Permute, Reshape};
use crate::nn::{Activation, Model, Pair};

/// CRNN, which reads a line of text: 8,326,693 trained parameters for 37 symbols on grey pictures, 32 pixels high.
///
/// Convolutions; columns of the last map as steps; two LSTMs that read them both ways; at each step a probability for each
/// symbol, of which one should stand for none. Of a picture `w` wide there are `w / 4 - 1` steps.
/// Source: Shi, Bai & Yao, 2015, <https://arxiv.org/abs/1507.05717>, table 1, with the dense layer between the LSTMs of the
/// authors' implementation.
pub fn crnn(input: [usize; 3], classes: usize, width: f64) -> Model {
    let [a, b, c, d] = [64, 128, 256, 512].map(|channels| scaled(channels, width));
    let mut chain = Chain::new(input);
    plain(&mut chain, 0, conv(a, 3, 1)).put(MaxPooling2D::new(2));
    plain(&mut chain, 1, conv(b, 3, 1)).put(MaxPooling2D::new(2));
    plain(&mut chain, 2, conv(c, 3, 1));
    plain(&mut chain, 3, conv(c, 3, 1)).put(halve_height());
    normalized(&mut chain, 4, conv(d, 3, 1));
    normalized(&mut chain, 5, conv(d, 3, 1)).put(halve_height());
    plain(&mut chain, 6, Conv2D::new(d, 2));
    // Columns, each with the rows that are left of it.
    let rows = (input[0] / 16).saturating_sub(1);
    chain.put(Permute { dims: vec![2, 1, 3] }).put(Reshape { target_shape: vec![-1, (rows * d) as i64] });
    let lstm = || LSTM { bidirectional: true, return_sequences: true, ..LSTM::new(c) };
    chain.named("rnn.0.rnn", lstm()).named("rnn.0.embedding", Dense::new(c)).named("rnn.1.rnn", lstm());
    chain.classes("rnn.1.embedding", classes)
}

/// A CRNN that learns in minutes on a CPU: 146,779 trained parameters for 11 symbols on grey pictures, 32 pixels high. Of a
/// picture `w` wide there are `w / 4` steps.
///
/// Four convolutions, each normalised; one LSTM that reads the columns both ways.
pub fn crnn_small(input: [usize; 3], classes: usize, width: f64) -> Model {
    let [a, b, c, d] = [16, 32, 48, 64].map(|channels| scaled(channels, width));
    let mut chain = Chain::new(input);
    for (number, filters, pooling) in
        [(0, a, MaxPooling2D::new(2)), (1, b, MaxPooling2D::new(2)), (2, c, halve_height()), (3, d, halve_height())]
    {
        let [conv_name, norm_name] = ["conv", "batchnorm"].map(|part| format!("cnn.{part}{number}"));
        chain.conv_norm([&conv_name, &norm_name], conv(filters, 3, 1), Activation::Relu).put(pooling);
    }
    chain.put(Permute { dims: vec![2, 1, 3] }).put(Reshape { target_shape: vec![-1, (input[0] / 16 * d) as i64] });
    chain.named("rnn", LSTM { bidirectional: true, return_sequences: true, ..LSTM::new(d) });
    chain.classes("symbols", classes)
}

fn plain(chain: &mut Chain, number: usize, layer: Conv2D) -> &mut Chain {
    chain.named(&format!("cnn.conv{number}"), Conv2D { activation: Activation::Relu, ..layer })
}

fn normalized(chain: &mut Chain, number: usize, layer: Conv2D) -> &mut Chain {
    let normalization = chain.normalization.clone();
    chain.named(&format!("cnn.conv{number}"), layer);
    chain.named(&format!("cnn.batchnorm{number}"), normalization).activation(Activation::Relu)
}

/// Letters are narrower than high.
fn halve_height() -> MaxPooling2D {
    MaxPooling2D::new(Pair([2, 1]))
}
