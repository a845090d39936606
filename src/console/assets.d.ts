// Declares the imports that the bundler resolves.

declare module "*.css"
