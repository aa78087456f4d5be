// Embeds the texts given with the JavaScript clients of OpenAI and Hugging Face, and prints what each of them got.
const { OpenAI } = require("openai");
const { featureExtraction, sentenceSimilarity } = require("@huggingface/inference");

async function main(url, texts) {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none" });
  const vectors = async (options) =>
    (await client.embeddings.create({ model: "disco", input: texts, ...options })).data.map((row) => row.embedding);
  const refusal = await client.embeddings.create({ model: "disco", input: "" }).catch((error) => error);
  const [source_sentence, ...sentences] = texts;
  return {
    openai: await vectors({}),
    openaiFloat: await vectors({ encoding_format: "float" }),
    openaiError: { name: refusal.constructor.name, status: refusal.status, code: refusal.code },
    huggingface: await featureExtraction({ endpointUrl: `${url}/embed`, inputs: texts }),
    similarity: await sentenceSimilarity({
      endpointUrl: `${url}/similarity`,
      inputs: { source_sentence, sentences },
    }),
  };
}

main(process.argv[2], JSON.parse(process.argv[3])).then((found) => console.log(JSON.stringify(found)));
