// Shows /openapi.json by Swagger UI, in the light that the system asks for.
const dark = matchMedia('(prefers-color-scheme: dark)');
const shade = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', shade);
shade();

// prefix is what stands before every path of the API.
const { prefix } = document.getElementById('docs').dataset;
const read = async (path) => (await fetch(prefix + path, { headers: { Accept: 'application/json' } })).json();

// newest is the id of the first entry of a list, for examples that run as they
// stand; undefined where there is none, or the list cannot be read.
const newest = async (path, id) => {
  try {
    return id(await read(path));
  } catch {
    return undefined;
  }
};

(async () => {
  const [spec, job, token] = await Promise.all([
    read('/openapi.json'),
    newest('/jobs/?limit=1', (page) => page.jobs[0].job_id),
    newest('/tokens/?limit=1', (list) => list[0].id),
  ]);
  const known = spec.components.parameters;
  if (job) known.JobID.example = job;
  if (token) known.TokenID.example = known.UploadTokenID.example = token;
  // Swagger UI shows those of a path last, and loses their values while it looks
  // them up.
  for (const item of Object.values(spec.paths)) {
    const { parameters = [], ...operations } = item;
    delete item.parameters;
    for (const operation of Object.values(operations)) {
      operation.parameters = [...parameters, ...(operation.parameters ?? [])].map((p) => (p.$ref ? known[p.$ref.split('/').pop()] : p));
    }
  }
  SwaggerUIBundle({
    spec,
    domNode: document.getElementById('docs'),
    deepLinking: true,
    docExpansion: 'list',
    defaultModelsExpandDepth: 0,
    validatorUrl: 'none',
  });
})();
