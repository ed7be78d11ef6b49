//! Keras's first example: a small convolutional network that tells two classes of 64×64 pictures apart.
//!
//!     cargo run --release --example keras_first_cnn -- photos
//!
//! `photos` holds a folder for each of the two classes.

use ocellus::prelude::*;

fn main() -> Result<()> {
    let Some(folder) = std::env::args().nth(1) else {
        return Err(Error::config("which folder? it needs a folder for each of two classes"));
    };
    let device = Device::auto()?;
    let data = ImageFolder::open(folder)?.split(0.2, Seed(0))?;
    let model =
        Sequential::new([64, 64, 3]).conv2d(32, 3).relu().max_pool2d(2).flatten().dense(128).relu().dense(1).sigmoid();
    let mut run =
        Trainer::new(model, &device).loss(Loss::BinaryCrossEntropy).optimizer(Adam::default()).epochs(10).fit(&data)?;
    for epoch in run.history() {
        println!(
            "epoch {:>2}   loss {:.4}   accuracy {:.1} %",
            epoch.epoch,
            epoch.train.loss,
            100.0 * epoch.train.metric
        );
    }
    println!("validation accuracy {:.1} %", 100.0 * run.evaluate(&data.val)?.accuracy());
    Ok(())
}
