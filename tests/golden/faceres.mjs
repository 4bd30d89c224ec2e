// Runs the published faceres with TensorFlow.js: [{height, width, pixels}] on stdin, [[1024 numbers]] on stdout.
// The arguments are the folders of the two packages.
import fs from 'node:fs';
import { createRequire } from 'node:module';

const [human, tfjs] = process.argv.slice(2);
const tf = createRequire(import.meta.url)(tfjs);
console.log = () => {}; // tfjs greets on stdout
await tf.setBackend('cpu');
const description = JSON.parse(fs.readFileSync(`${human}/models/faceres.json`));
const model = await tf.loadGraphModel(tf.io.fromMemory({
  modelTopology: description.modelTopology,
  weightSpecs: description.weightsManifest[0].weights,
  weightData: new Uint8Array(fs.readFileSync(`${human}/models/faceres.bin`)).buffer,
}));
const vectors = JSON.parse(fs.readFileSync(0)).map(({ height, width, pixels }) => tf.tidy(() => {
  const resized = tf.image.resizeBilinear(tf.tensor4d(pixels, [1, height, width, 3]), [224, 224], false);
  const input = tf.reverse(resized, 3).sub([103.939, 116.779, 123.68]);
  return Array.from(model.execute(input, 'global_pooling/Mean').dataSync());
}));
process.stdout.write(JSON.stringify(vectors));
