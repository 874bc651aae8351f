// Shows the document that the page names. Nothing is asked of any other host: no validator, no OAuth redirect.
window.ui = SwaggerUIBundle({
  url: document.getElementById("page").dataset.document,
  domNode: document.getElementById("page"),
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
