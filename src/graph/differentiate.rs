use super::{Backward, Graph, Kind, Value};
use crate::error::{Error, Result};
use crate::ops;
use crate::tensor::Tensor;

impl Graph {
    /// Reverse-mode differentiation: appends the ops which compute the gradient of the scalar `loss` with respect to each
    /// of `wrt`, and returns the gradients in that order. A value on which the loss does not depend has gradient zero.
    ///
    /// Errors: if the loss is not one number, or if an op on the way has no gradient rule.
    pub fn differentiate(&mut self, loss: Value, wrt: &[Value]) -> Result<Vec<Value>> {
        if self.meta(loss).elements() != 1 {
            let message = format!("a loss must be one number, this one has shape {}", self.shape(loss));
            return Err(Error::shape("differentiate", message));
        }
        let wanted = self.depends_on(wrt);
        let mut grads: Vec<Option<Value>> = vec![None; self.nodes.len()];
        let shape = self.shape(loss).clone();
        let one = self.constant(Tensor::new(shape, vec![1.0_f32])?);
        grads[loss.index()] = Some(one);
        self.seed = Some((loss, one));
        for index in (0..=loss.index()).rev() {
            let Some(grad) = grads[index] else { continue };
            let node = self.nodes[index].clone();
            let Kind::Op(op) = &node.kind else { continue };
            self.scope(&node.name);
            let at = Backward { inputs: &node.inputs, output: Value(index as u32), grad };
            for (of, &input) in node.inputs.iter().enumerate() {
                if !wanted[input.index()] {
                    continue;
                }
                let Some(part) = op.gradient(self, &at, of).map_err(|e| self.in_scope(e))? else { continue };
                debug_assert_eq!(self.shape(part), self.shape(input), "gradient of {} input {of}", op.name());
                grads[input.index()] = Some(match grads[input.index()] {
                    None => part,
                    Some(sum) => ops::add(self, sum, part)?,
                });
            }
        }
        wrt.iter()
            .map(|&value| match grads[value.index()] {
                Some(grad) => Ok(grad),
                None => Ok(self.constant(Tensor::zeros(&self.meta(value).clone()))),
            })
            .collect()
    }

    /// Differentiates `loss` with respect to every parameter and keeps the gradients as results of the graph.
    pub fn differentiate_parameters(&mut self, loss: Value) -> Result<()> {
        let parameters: Vec<Value> = self.parameters().map(|(v, _)| v).collect();
        let gradients = self.differentiate(loss, &parameters)?;
        self.gradients = parameters.into_iter().zip(gradients).collect();
        Ok(())
    }

    fn depends_on(&self, sources: &[Value]) -> Vec<bool> {
        let mut depends = vec![false; self.nodes.len()];
        for (value, node) in self.iter() {
            depends[value.index()] = sources.contains(&value) || node.inputs.iter().any(|i| depends[i.index()]);
        }
        depends
    }
}
