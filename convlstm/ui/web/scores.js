// Scores: {error, mae, psnr, ssim} of the model and of each baseline. None stands without the others.

// The mean over lead times; of root mean squares, the root of the mean square.
export function meanOverLeads(list, { kind }) {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const errors = list.map(({ error }) => error);
  return {
    error: kind === "rmse" ? Math.sqrt(mean(errors.map((value) => value ** 2))) : mean(errors),
    psnr: mean(list.map(({ psnr }) => psnr)),
    ssim: mean(list.map(({ ssim }) => ssim)),
  };
}

// 0: no better than repeating the last frame; 1: perfect. A share of mean squared errors.
export function skillOf(error, reference, { kind }) {
  return 1 - (error / reference) ** (kind === "rmse" ? 2 : 1);
}

// Whether a model beats every baseline, and so the better one, by more than a hair: all are told as
// what is missing to perfection.
const CLEARLY = 0.95;
export function beats(own, baselines) {
  return baselines.length > 0 && own < CLEARLY * Math.min(...baselines);
}

// Scores of the validation set where there are some, else of the sequence shown; null before both.
export function scoresOf({ scores, picture, stage: { error, baselines } }) {
  if (scores) return { model: scores.model, baselines: baselines.map((name) => scores.baselines[name]), skill: scores.skill, of: "validation" };
  if (!picture) return null;
  const model = meanOverLeads(picture.scores, error), others = baselines.map((name) => meanOverLeads(picture.baselines[name], error));
  return { model, baselines: others, skill: skillOf(model.error, others[0].error, error), of: "sequence" };
}
