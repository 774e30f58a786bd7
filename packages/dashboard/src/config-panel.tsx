/** The run's effective configuration. */

/** A table of settings; values as they would be written in YAML's flow style. */
export function ConfigPanel({ config }: { config: Readonly<Record<string, unknown>> }) {
  const rows = Object.entries(config).filter(([, value]) => value !== undefined && value !== null);
  return (
    <section aria-labelledby="config-title">
      <header class="section-head">
        <h2 id="config-title">Configuration</h2>
      </header>
      <details class="card fold">
        <summary>{rows.length} settings</summary>
        <table class="rows config">
          <tbody>
            {rows.map(([name, value]) => (
              <tr key={name}>
                <th scope="row">
                  <code>{name}</code>
                </th>
                <td>
                  <code>{settingText(value)}</code>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </section>
  );
}

/** A setting's value as text: strings bare, the rest as JSON. */
export function settingText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
