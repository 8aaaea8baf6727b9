// The states that undo and redo go through: the browser's own history, of which this is the part since the page opened.

export class Trail {
  private states: string[];
  private at = 0;

  constructor(state: string) {
    this.states = [state];
  }

  get back(): boolean {
    return this.at > 0;
  }

  get forth(): boolean {
    return this.at < this.states.length - 1;
  }

  /** A new state after the present one; false where it is the present one. */
  push(state: string): boolean {
    if (state === this.states[this.at]) return false;
    this.states = [...this.states.slice(0, ++this.at), state];
    return true;
  }

  /** The present state, looked at in another way. */
  replace(state: string): void {
    this.states[this.at] = state;
  }

  /** The address has changed; false where it is the present state. */
  follow(state: string): boolean {
    if (state === this.states[this.at - 1]) this.at--;
    else if (state === this.states[this.at + 1]) this.at++;
    else return this.push(state);
    return true;
  }
}
